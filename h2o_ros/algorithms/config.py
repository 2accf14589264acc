"""Hyper-parameters of H2O (paper: table 3 and appendix B.1) and of the recipe this package uses.

The defaults are the recipe; config/algorithms/NAME.yaml holds what another algorithm changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from h2o_ros.configuration import build, read_yaml, setting
from h2o_ros.errors import ConfigurationError
from h2o_ros.task import share_folder


@dataclass(frozen=True)
class H2OConfig:
    """What the learner does. Batches of 0 rows leave a source out: no real rows is SAC."""

    # What is learned from, and how far each source is trusted
    real_batch: int = setting(
        64, 'rows', 'real rows in each actor and critic batch', minimum=0, maximum=65536
    )
    sim_batch: int = setting(
        64, 'rows', 'simulated rows in each actor and critic batch', minimum=0, maximum=65536
    )
    classifiers: bool = setting(True, '', 'train the two domain classifiers')
    omega: str = setting(
        'adaptive',
        '',
        'weights of the regularised rows (eq. 6): by their dynamics gap u, or uniform',
        choices=('adaptive', 'uniform'),
    )
    dynamics_ratio: bool = setting(
        True, '', 'weigh simulated Bellman errors by p_real/p_sim (eq. 8)'
    )
    regularisation: str = setting(
        'soft_maximum',
        '',
        'what pushes simulated values down: eq. 6, its mean (eq. 10, H2O(v)), or nothing',
        choices=('soft_maximum', 'mean', 'none'),
    )
    beta: float = setting(
        0.01, '', 'weight of the regularisation (min Q weight)', minimum=0.0, maximum=1000.0
    )
    task_beta: dict[str, float] = field(
        default_factory=dict,
        metadata={'unit': '', 'text': 'beta by task name, where it differs', 'minimum': 0.0},
    )
    regularisation_limit: float = setting(
        1000.0, '', 'the regularisation is clipped to ± this', minimum=0.0
    )

    # The dynamics gap
    gap_samples: int = setting(
        10, 'samples', 'N, next states drawn for each u(s, a)', minimum=1, maximum=1000
    )
    gap_spread: float = setting(
        0.1,
        '',
        "deviation of u's next states over that of the real data; 1 is the paper's, 0 takes the "
        "simulator's own next state alone",
        minimum=0.0,
        maximum=10.0,
    )
    gap_minimum: float = setting(
        1e-30, 'nats', 'lower clip of u; float32 without denormals', minimum=1e-30, maximum=1.0
    )
    gap_maximum: float = setting(10.0, 'nats', 'upper clip of u', minimum=1e-6, maximum=1000.0)
    ratio_minimum: float = setting(
        1e-5, '', 'lower clip of p_real/p_sim', minimum=1e-30, maximum=1.0
    )
    ratio_maximum: float = setting(
        1.0, '', 'upper clip of p_real/p_sim', minimum=1e-6, maximum=1e6
    )
    classifier_batch: int = setting(
        128, 'rows', "rows of each domain in the classifiers' batch", minimum=1, maximum=65536
    )
    classifier_noise: float = setting(
        0.1, '', "standard deviation of the noise on the classifiers' inputs", minimum=0.0
    )
    classifiers_see_difference: bool = setting(
        True, '', "give the classifiers (s' - s) over its deviation in place of s'"
    )

    # What the networks see and how they are shaped
    standardise_observation: bool = setting(
        True, '', 'shift and scale observations by the mean and deviation of the real ones'
    )
    hidden: tuple[int, ...] = field(
        default=(32, 32),
        metadata={'unit': 'units', 'text': 'hidden layers of actor and critics'},
    )
    classifier_hidden: tuple[int, ...] = field(
        default=(32, 32),
        metadata={'unit': 'units', 'text': 'hidden layers of the domain classifiers'},
    )
    critic_layer_norm: bool = setting(
        True, '', 'normalise each hidden layer of the critics before its ReLU'
    )

    # Values
    discount: float = setting(
        0.995, '', 'discount of one control step', minimum=0.0, maximum=0.99999
    )
    reward_centre: bool = setting(
        True, '', "learn on r - the task's largest reward, the value of a failure shifted with it"
    )
    reward_scale: float = setting(
        0.05, '', 'learning reward per unit of reward', minimum=1e-9, maximum=1e6
    )
    target_entropy_per_action: float = setting(
        -1.0,
        'nats',
        'entropy that the temperature is tuned to, per action field',
        minimum=-100.0,
        maximum=100.0,
    )

    # Optimisation
    learning_rate: float = setting(
        3e-4, '', 'Adam step of every network and the temperature', minimum=1e-8, maximum=1.0
    )
    learning_rate_final_fraction: float = setting(
        0.03,
        '',
        'learning rate at updates_total over that at 0; falls linearly',
        minimum=0.0,
        maximum=1.0,
    )
    tau: float = setting(5e-3, '', 'target smoothing per update', minimum=0.0, maximum=1.0)
    actor_average: float = setting(
        2000.0,
        'updates',
        'time constant of the averaged actor that is deployed; 0 deploys the actor itself',
        minimum=0.0,
        maximum=1e9,
    )
    compile: str = setting(
        'auto',
        '',
        'compile the update to machine code: where it helps and can be, always, never',
        choices=('auto', 'on', 'off'),
    )
    matmul_precision: str = setting(
        'highest',
        '',
        'products of layers of 128 units and more: float32, or factors rounded to bfloat16 where '
        'the processor has it and the first update shows that little changes',
        choices=('highest', 'medium'),
    )
    updates_total: int = setting(120000, 'updates', 'updates of a run', minimum=1, maximum=10**9)

    # Simulated data
    updates_per_step: float = setting(
        1.0,
        'updates/step',
        'updates per simulated control step; 0 runs no simulator',
        minimum=0.0,
        maximum=1000.0,
    )
    warmup_steps: int = setting(
        1000, 'steps', 'simulated control steps before the first update', minimum=0, maximum=10**8
    )
    sim_buffer_ratio: float = setting(
        10.0,
        '',
        'capacity of the simulated buffer over the number of real rows',
        minimum=0.01,
        maximum=1000.0,
    )
    sim_buffer_rows: int = setting(
        1_000_000, 'rows', 'its capacity where there are no real rows', minimum=1, maximum=10**8
    )

    def __post_init__(self) -> None:
        """Refuse combinations under which a part would silently not work."""
        if self.real_batch + self.sim_batch == 0:
            raise ValueError('real_batch, sim_batch: both are 0; give one source at least one row')
        if not all(self.hidden) or not all(self.classifier_hidden):
            raise ValueError('hidden, classifier_hidden: expected layers of 1 or more units')
        both = self.real_batch > 0 and self.sim_batch > 0
        if self.classifiers and not both:
            raise ValueError('classifiers: need real and simulated rows; set classifiers: false')
        if self.dynamics_ratio and not self.classifiers:
            raise ValueError('dynamics_ratio: needs classifiers: true')
        if self.regularisation != 'none' and not both:
            raise ValueError('regularisation: needs both sources; set regularisation: none')
        adaptive = self.regularisation != 'none' and self.omega == 'adaptive'
        if adaptive and not self.classifiers:
            raise ValueError('omega: adaptive needs classifiers: true')
        if self.sim_batch == 0 and self.updates_per_step > 0:
            raise ValueError('updates_per_step: must be 0 where sim_batch is 0')
        if self.sim_batch > 0 and self.updates_per_step == 0:
            raise ValueError('updates_per_step: must be above 0 where sim_batch is above 0')

    def beta_of(self, task: str) -> float:
        """Return the weight of the regularisation for a task by name."""
        return self.task_beta.get(task, self.beta)

    def as_mapping(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def algorithm_names() -> list[str]:
    """List the algorithms that the package ships."""
    return sorted(path.stem for path in share_folder('config/algorithms').glob('*.yaml'))


def load_config(name_or_path: str | Path, **overrides: Any) -> H2OConfig:
    """Read an algorithm by the name of a shipped file or by path; overrides win over the file."""
    path = Path(name_or_path)
    if path.suffix not in ('.yaml', '.yml'):
        path = share_folder('config/algorithms') / f'{name_or_path}.yaml'
        if not path.is_file():
            raise ConfigurationError(
                f'algorithm {str(name_or_path)!r} is unknown; choose one of '
                f'{", ".join(algorithm_names())} or give a .yaml file'
            )
    return config_from({**read_yaml(path), **overrides}, str(path))


def config_from(mapping: Mapping[str, Any], where: str) -> H2OConfig:
    """Make a configuration from plain values; `where` is what an error message names."""
    return build(H2OConfig, dict(mapping), where)
