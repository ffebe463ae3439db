/** The shared libraries that the Node which runs this has loaded. */
export function nodeLibraries(): string[] {
  // Asking for the network's part would look up the name of every peer.
  Object.assign(process.report, { excludeNetwork: true });
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
  return sharedObjects.filter((path) => path.startsWith('/'));
}
