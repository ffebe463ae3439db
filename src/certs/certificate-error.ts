/** What can be wrong with a certificate; each comes with a sentence that says what to do about it. */
export type CertificateErrorCode =
  | 'IPS_CERT_UNREADABLE'
  | 'IPS_CERT_NOT_PEM'
  | 'IPS_CERT_NOT_VALID_NOW'
  | 'IPS_CERT_KEY_MISMATCH'
  | 'IPS_CERT_CA_MISMATCH'
  | 'IPS_CERT_NAME_MISSING'
  | 'IPS_CERT_SECRET_MISSING'
  | 'IPS_CERT_AUTHORITY_EXPIRED';

export class CertificateError extends Error {
  override readonly name = 'CertificateError';
  readonly code: CertificateErrorCode;
  /** Whether the same call may succeed later: files can be replaced, an authority that expired stays so. */
  readonly retryable: boolean;

  constructor(code: CertificateErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.retryable = code !== 'IPS_CERT_AUTHORITY_EXPIRED';
  }
}
