import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { KubernetesNode } from './kubernetes.ts';
import { pullStrategy, type StrategyOptions } from './node-strategy.ts';

type NodeInfo = NonNullable<NonNullable<KubernetesNode['status']>['nodeInfo']>;

const MODERN: NodeInfo = {
  kubeletVersion: 'v1.36.3',
  containerRuntimeVersion: 'containerd://2.4.2',
  operatingSystem: 'linux',
  architecture: 'amd64',
};

const IMAGE_VOLUMES: StrategyOptions = { strategy: 'image-volume', workerImageLegacy: 'noop:1' };

function strategyOf(nodeInfo: NodeInfo, options = IMAGE_VOLUMES) {
  return pullStrategy(
    { metadata: { name: 'n1' }, status: { nodeInfo: { ...MODERN, ...nodeInfo } } },
    options,
  );
}

describe('pullStrategy', () => {
  describe('mounts image volumes', () => {
    it.each<NodeInfo & { where: string }>([
      { where: 'kubelet and containerd are new', ...MODERN },
      { where: 'the kubelet is the first that can', kubeletVersion: 'v1.35.0' },
      { where: 'containerd is the first that can', containerRuntimeVersion: 'containerd://2.1.0' },
      { where: 'CRI-O is the first that can', containerRuntimeVersion: 'cri-o://1.31.0' },
      { where: 'CRI-O is newer', containerRuntimeVersion: 'cri-o://1.36.1' },
      { where: 'the kubelet is of a vendor that adds a number', kubeletVersion: 'v1.35.2-gke.100' },
      { where: 'the kubelet is of a vendor that adds a name', kubeletVersion: 'v1.36.0+k3s1' },
      { where: 'the kubelet is of a vendor that adds a hash', kubeletVersion: 'v1.35.4-eks-0123abc' },
      { where: 'the kubelet is a pre-release', kubeletVersion: 'v1.37.0-alpha.2.14+0123456789abcdef' },
      { where: 'containerd is a pre-release', containerRuntimeVersion: 'containerd://2.1.0-rc.1' },
      { where: 'containerd writes a v before its version', containerRuntimeVersion: 'containerd://v2.1.4' },
      { where: 'containerd is of a vendor', containerRuntimeVersion: 'containerd://2.1.4-k3s2' },
      { where: 'containerd is of a distribution', containerRuntimeVersion: 'containerd://2.2.0~ds1' },
      {
        where: 'containerd has a higher major and a lower minor version',
        containerRuntimeVersion: 'containerd://3.0.0',
      },
      { where: 'the kubelet has a higher major and a lower minor version', kubeletVersion: 'v2.0.0' },
      { where: 'the minor version has three digits', kubeletVersion: 'v1.100.0' },
      { where: 'the architecture is another', architecture: 'arm64' },
    ])('where $where', ({ where: _, ...nodeInfo }) => {
      expect(strategyOf(nodeInfo)).toEqual({ strategy: 'image-volume' });
    });

    it('where the operating system is not told', () => {
      const { operatingSystem: _, ...nodeInfo } = MODERN;
      expect(pullStrategy({ metadata: {}, status: { nodeInfo } }, IMAGE_VOLUMES)).toEqual({
        strategy: 'image-volume',
      });
    });
  });

  describe('gives a reason', () => {
    it.each<NodeInfo & { where: string; reason: string }>([
      {
        where: 'the kubelet is older',
        kubeletVersion: 'v1.33.1',
        reason: 'kubelet v1.33.1 cannot mount image volumes (1.35 or newer needed)',
      },
      {
        where: 'the kubelet is the last that cannot, with a vendor suffix',
        kubeletVersion: 'v1.34.99-gke.1',
        reason: 'kubelet v1.34.99-gke.1 cannot mount image volumes (1.35 or newer needed)',
      },
      {
        where: 'the minor version is smaller as a number, not as a text',
        kubeletVersion: 'v1.9.0',
        reason: 'kubelet v1.9.0 cannot mount image volumes (1.35 or newer needed)',
      },
      {
        where: 'the kubelet version cannot be read',
        kubeletVersion: 'unknown',
        reason: 'kubelet version "unknown" is not one that can be read (1.35 or newer needed)',
      },
      {
        where: 'the kubelet version is empty',
        kubeletVersion: '',
        reason: 'kubelet version "" is not one that can be read (1.35 or newer needed)',
      },
      {
        where: 'containerd is of the first major version',
        containerRuntimeVersion: 'containerd://1.7.27',
        reason: 'containerd 1.7.27 cannot mount image volumes (2.1 or newer needed)',
      },
      {
        where: 'containerd is the last that cannot',
        containerRuntimeVersion: 'containerd://2.0.5',
        reason: 'containerd 2.0.5 cannot mount image volumes (2.1 or newer needed)',
      },
      {
        where: 'containerd has a greater minor version of a smaller major one',
        containerRuntimeVersion: 'containerd://1.31.0',
        reason: 'containerd 1.31.0 cannot mount image volumes (2.1 or newer needed)',
      },
      {
        where: 'CRI-O is older',
        containerRuntimeVersion: 'cri-o://1.30.9',
        reason: 'CRI-O 1.30.9 cannot mount image volumes (1.31 or newer needed)',
      },
      {
        where: 'the version of containerd cannot be read',
        containerRuntimeVersion: 'containerd://Unknown',
        reason:
          'container runtime version "containerd://Unknown" is not one that can be read (2.1 or newer needed)',
      },
      {
        where: 'the version of containerd is missing',
        containerRuntimeVersion: 'containerd',
        reason: 'container runtime version "containerd" is not one that can be read (2.1 or newer needed)',
      },
      {
        where: 'the runtime is another',
        containerRuntimeVersion: 'docker://28.1.0',
        reason:
          'container runtime "docker://28.1.0" cannot mount image volumes (containerd 2.1 or CRI-O 1.31 or newer needed)',
      },
      {
        where: 'the runtime is called as a property that every object has',
        containerRuntimeVersion: 'constructor://9.9',
        reason:
          'container runtime "constructor://9.9" cannot mount image volumes (containerd 2.1 or CRI-O 1.31 or newer needed)',
      },
      {
        where: 'the node runs Windows, whatever its versions',
        operatingSystem: 'windows',
        reason: 'Windows nodes can neither mount image volumes nor run the no-op',
      },
    ])('where $where', ({ where: _, reason, ...nodeInfo }) => {
      expect(strategyOf(nodeInfo)).toEqual({ strategy: undefined, reason });
    });

    it.each<{ where: string; node: KubernetesNode; reason: RegExp }>([
      { where: 'there is no status', node: { metadata: {} }, reason: /status\.nodeInfo is missing/ },
      {
        where: 'there is no node info',
        node: { metadata: {}, status: {} },
        reason: /status\.nodeInfo is missing/,
      },
      {
        where: 'the node info is empty',
        node: { metadata: {}, status: { nodeInfo: {} } },
        reason: /^kubelet version "" is not/,
      },
      {
        where: 'the runtime is not told',
        node: { metadata: {}, status: { nodeInfo: { kubeletVersion: 'v1.36.0' } } },
        reason: /^container runtime "" cannot/,
      },
    ])('where $where', ({ node, reason }) => {
      expect(pullStrategy(node, IMAGE_VOLUMES)).toEqual({
        strategy: undefined,
        reason: expect.stringMatching(reason),
      });
    });
  });

  describe('goes by the setting', () => {
    const OLD: NodeInfo = { kubeletVersion: 'v1.34.2' };
    const OLD_RUNTIME: NodeInfo = { containerRuntimeVersion: 'docker://28.1.0' };
    const WINDOWS: NodeInfo = { operatingSystem: 'windows' };
    const cannot = 'kubelet v1.34.2 cannot mount image volumes (1.35 or newer needed)';

    it.each<{ what: string; node: NodeInfo; options: StrategyOptions; expected: object }>([
      {
        what: 'auto: image volumes where a node can',
        node: MODERN,
        options: { strategy: 'auto', workerImageLegacy: 'noop:1' },
        expected: { strategy: 'image-volume' },
      },
      {
        what: 'auto: the no-op where the kubelet is older',
        node: OLD,
        options: { strategy: 'auto', workerImageLegacy: 'noop:1' },
        expected: { strategy: 'injected-noop' },
      },
      {
        what: 'auto: the no-op where the runtime is another',
        node: OLD_RUNTIME,
        options: { strategy: 'auto', workerImageLegacy: 'noop:1' },
        expected: { strategy: 'injected-noop' },
      },
      {
        what: 'auto, without an image of the no-op: which setting is missing',
        node: OLD,
        options: { strategy: 'auto', workerImageLegacy: '' },
        expected: { strategy: undefined, reason: `${cannot}, and WORKER_IMAGE_LEGACY is not set` },
      },
      {
        what: 'image-volume: an older node is left out, whatever else could be done',
        node: OLD,
        options: IMAGE_VOLUMES,
        expected: { strategy: undefined, reason: cannot },
      },
      {
        what: 'injected-noop: also where a node could mount image volumes',
        node: MODERN,
        options: { strategy: 'injected-noop', workerImageLegacy: 'noop:1' },
        expected: { strategy: 'injected-noop' },
      },
      {
        what: 'injected-noop: not on Windows',
        node: WINDOWS,
        options: { strategy: 'injected-noop', workerImageLegacy: 'noop:1' },
        expected: {
          strategy: undefined,
          reason: 'Windows nodes can neither mount image volumes nor run the no-op',
        },
      },
      {
        what: 'auto: not on Windows either',
        node: { ...OLD, ...WINDOWS },
        options: { strategy: 'auto', workerImageLegacy: 'noop:1' },
        expected: {
          strategy: undefined,
          reason: 'Windows nodes can neither mount image volumes nor run the no-op',
        },
      },
    ])('$what', ({ node, options, expected }) => {
      expect(strategyOf(node, options)).toEqual(expected);
    });
  });

  it('does not take away from a newer node what an older one could', () => {
    const minor = fc.nat({ max: 60 });
    fc.assert(
      fc.property(
        minor,
        minor,
        fc.nat({ max: 9 }),
        fc.nat({ max: 9 }),
        (kubelet, newer, runtime, newerRuntime) => {
          const at = (k: number, r: number) =>
            strategyOf({ kubeletVersion: `v1.${k}.0`, containerRuntimeVersion: `containerd://2.${r}.0` })
              .strategy;
          const before = at(kubelet, runtime);
          const after = at(kubelet + newer, runtime + newerRuntime);
          expect(before === undefined ? 'image-volume' : after).toBe('image-volume');
          expect(before).toBe(kubelet >= 35 && runtime >= 1 ? 'image-volume' : undefined);
        },
      ),
    );
  });
});
