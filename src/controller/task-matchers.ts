import type { RuntimeClass } from '../domain/kubernetes.ts';
import type { NodeMatcher } from '../domain/node-matching.ts';
import type { PrewarmTask } from '../domain/prewarm-task.ts';
import { compileRuntimeMatcher } from '../domain/runtime-class.ts';
import type { Informer } from '../kube/informer.ts';

/** Gives the matcher of a task's nodes, compiled once for its requirements and its RuntimeClass as it is. */
export function createTaskMatchers(
  runtimeClasses: Pick<Informer<RuntimeClass>, 'get'>,
): (task: PrewarmTask) => NodeMatcher {
  const matchers = new WeakMap<object, { runtimeClass: RuntimeClass | undefined; fits: NodeMatcher }>();
  return (task) => {
    const { nodeRequirements: requirements = {}, runtimeClassName: name } = task.spec;
    const runtimeClass = runtimeClasses.get(name ?? '');
    const known = matchers.get(requirements);
    if (known && known.runtimeClass === runtimeClass) return known.fits;
    const fits = compileRuntimeMatcher(requirements, name, runtimeClass);
    matchers.set(requirements, { runtimeClass, fits });
    return fits;
  };
}
