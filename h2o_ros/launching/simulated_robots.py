"""The pairs of nodes that simulate robots: one to explore in, one that stands for reality."""

from __future__ import annotations

from typing import Any

from h2o_ros.launching.description import NodeProcess, Value

VIRTUAL_ROBOT = 'virtual_robot'
EPISODES = 10  # of one evaluation, a robot each


def exploring_robots(
    task: str, seed: int, simulator: dict[str, Value] | None = None, **options: Any
) -> list[NodeProcess]:
    """Return the training simulator and the policy server that explores in it.

    simulator: further parameters of sim_bridge. options: of both processes. A node of either that
    fails may come back: nothing is lost but the time.
    """
    return [
        NodeProcess(
            'sim_bridge',
            parameters={'task': task, 'seed': seed, **(simulator or {})},
            respawn=True,
            **options,
        ),
        NodeProcess(
            'policy_server',
            parameters={'task': task, 'deterministic': False, 'seed': seed},
            remappings=(('policy', 'exploration_policy'),),
            respawn=True,
            **options,
        ),
    ]


def evaluated_robots(task: str, model: str, seed: int, **options: Any) -> list[NodeProcess]:
    """Return the virtual robots that the evaluator drives, and the policy server that acts there.

    model: which virtual robot. options: of both processes.
    """
    common: dict[str, Any] = {'namespace': VIRTUAL_ROBOT, 'respawn': True, **options}
    return [
        NodeProcess(
            'sim_bridge',
            parameters={
                'task': task,
                'model': model,
                'environments': EPISODES,
                'seed': seed,
                'reset': 'evaluation',
            },
            **common,
        ),
        NodeProcess('policy_server', parameters={'task': task}, **common),
    ]
