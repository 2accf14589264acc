"""Hyper-parameters of every algorithm (paper: table 3, appendix B.1) and of this package's recipe.

The defaults are the recipe. Most settings are common; one that not every method reads names those
that do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from h2o_ros.configuration import setting

# What each method may learn from; sac on real rows alone or on both is a plain baseline.
SOURCES = {
    'sac': ('simulated', 'real', 'both'),
    'cql': ('real',),
    'darc': ('simulated', 'both'),
    'h2o': ('both',),
    'h2o_reverse_kl': ('both',),
    'h2o_ensemble': ('both',),
    'h2o_expectile': ('both',),
}
CQL, DARC = ('cql',), ('darc',)
REVERSE_KL, ENSEMBLE, EXPECTILE = ('h2o_reverse_kl',), ('h2o_ensemble',), ('h2o_expectile',)
AROUND_SIMULATED = ('h2o', *EXPECTILE)  # those that draw next states for u around the simulator's
DRAWING = (*AROUND_SIMULATED, *REVERSE_KL)
H2O = (*DRAWING, *ENSEMBLE)
WITH_CLASSIFIERS = (*DARC, *H2O)
# What came later, at the value that changes nothing: older checkpoints and results had it so.
ADDED = {'actor_smoothness': 0.0}


@dataclass(frozen=True)
class AlgorithmConfig:
    """What the learner does."""

    # What is learned, and from what
    method: str = setting(
        'h2o', '', 'file of h2o_ros/algorithms that makes the update', choices=tuple(SOURCES)
    )
    batch: int = setting(
        128, 'rows', 'rows in each actor and critic batch', minimum=1, maximum=65536
    )
    sources: str = setting(
        'both',
        '',
        'rows of that batch: half real and half simulated, or one source alone',
        choices=('both', 'real', 'simulated'),
    )

    # H2O: how far each source is trusted
    omega: str = setting(
        'adaptive',
        '',
        'weights of the regularised rows (eq. 6): by their dynamics gap u, or uniform',
        choices=('adaptive', 'uniform'),
        methods=H2O,
    )
    dynamics_ratio: bool = setting(
        True, '', 'weigh simulated Bellman errors by p_real/p_sim (eq. 8)', methods=H2O
    )
    regularisation: str = setting(
        'soft_maximum',
        '',
        'what pushes simulated values down: eq. 6, its mean (eq. 10, H2O(v)), or nothing',
        choices=('soft_maximum', 'mean', 'none'),
        methods=H2O,
    )
    beta: float = setting(
        0.01, '', 'weight of the regularisation', minimum=0.0, maximum=1000.0, methods=H2O
    )
    regularisation_limit: float = setting(
        1000.0, '', 'the regularisation is clipped to ± this', minimum=0.0, methods=H2O
    )

    # The dynamics gap
    gap_samples: int = setting(
        10,
        'samples',
        'N, next states drawn for each u(s, a)',
        minimum=1,
        maximum=1000,
        methods=DRAWING,
    )
    gap_spread: float = setting(
        0.1,
        '',
        "deviation of u's next states over that of the real data; 1 is the paper's, 0 takes the "
        "simulator's own next state alone",
        minimum=0.0,
        maximum=10.0,
        methods=AROUND_SIMULATED,
    )
    gap_minimum: float = setting(
        1e-30,
        'nats',
        'lower clip of u; float32 without denormals',
        minimum=1e-30,
        maximum=1.0,
        methods=H2O,
    )
    gap_maximum: float = setting(
        10.0, 'nats', 'upper clip of u', minimum=1e-6, maximum=1000.0, methods=H2O
    )
    ratio_minimum: float = setting(
        1e-5, '', 'lower clip of p_real/p_sim', minimum=1e-30, maximum=1.0, methods=H2O
    )
    ratio_maximum: float = setting(
        1.0, '', 'upper clip of p_real/p_sim', minimum=1e-6, maximum=1e6, methods=H2O
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

    dynamics_members: int = setting(
        5,
        'networks',
        'members of the learned dynamics model, which draw the next states for u in turn',
        minimum=1,
        maximum=100,
        methods=REVERSE_KL,
    )
    classifier_pairs: int = setting(
        3,
        'pairs',
        'pairs of domain classifiers whose mean tells the gap',
        minimum=1,
        maximum=100,
        methods=ENSEMBLE,
    )

    # CQL, DARC and in-sample values
    min_q_weight: float = setting(
        2.0, '', 'weight of the penalty (eq. 3)', minimum=0.0, maximum=1000.0, methods=CQL
    )
    sampled_actions: int = setting(
        10,
        'actions',
        "N: uniform ones, the policy's at s and its at s', N each, that the penalty pushes down",
        minimum=1,
        maximum=1000,
        methods=CQL,
    )
    correction_limit: float = setting(
        10.0,
        'reward',
        'the correction of the reward is clipped to ± this',
        minimum=0.0,
        methods=DARC,
    )
    expectile: float = setting(
        0.7,
        '',
        "of the target critics' values at the real rows' actions, which V learns; 0.5 is the mean",
        minimum=0.01,
        maximum=0.99,
        methods=EXPECTILE,
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
    actor_smoothness: float = setting(
        3.0,
        '',
        "weight of the deterministic action's squared step from s to s' in the actor's loss, in "
        'half the range of the action',
        minimum=0.0,
        maximum=1e6,
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
        1.0, 'updates/step', 'updates per simulated control step', minimum=1e-3, maximum=1000.0
    )
    warmup_steps: int = setting(
        1000, 'steps', 'simulated control steps before the first update', minimum=0, maximum=10**8
    )
    sim_buffer_ratio: float = setting(
        10.0,
        '',
        'capacity of the simulated buffer over the number of real rows; 0 takes sim_buffer_rows',
        minimum=0.0,
        maximum=1000.0,
    )
    sim_buffer_rows: int = setting(
        1_000_000,
        'rows',
        'its capacity where there are no real rows or sim_buffer_ratio is 0',
        minimum=1,
        maximum=10**8,
    )

    def __post_init__(self) -> None:
        """Refuse combinations under which a part would silently not work."""
        for name in ('hidden', 'classifier_hidden'):
            units = getattr(self, name)
            if min(units, default=1) < 1:
                raise ValueError(
                    f'{name}: expected layers of 1 unit or more, got {", ".join(map(str, units))}'
                )
        if not self.hidden + self.classifier_hidden:
            raise ValueError('hidden, classifier_hidden: expected one layer or more in all')
        for name in ('gap', 'ratio'):
            low, high = getattr(self, f'{name}_minimum'), getattr(self, f'{name}_maximum')
            if low > high:
                raise ValueError(
                    f'{name}_minimum: expected no more than {name}_maximum ({high}), got {low}'
                )
        if self.sources not in SOURCES[self.method]:
            raise ValueError(
                f'sources: method {self.method} learns from {" or ".join(SOURCES[self.method])}, '
                f'got {self.sources}'
            )
        if self.sources == 'both' and self.batch % 2:
            raise ValueError(
                f'batch: expected an even number, half from each source, got {self.batch}'
            )

    @property
    def real_batch(self) -> int:
        """Real rows in each actor and critic batch."""
        return self.batch - self.sim_batch

    @property
    def sim_batch(self) -> int:
        """Simulated rows in each actor and critic batch."""
        return {'both': self.batch // 2, 'real': 0, 'simulated': self.batch}[self.sources]

    @property
    def classifiers(self) -> bool:
        """Whether the two domain classifiers are trained, which takes rows of both sources."""
        return self.method in WITH_CLASSIFIERS

    @property
    def pairs(self) -> int:
        """Pairs of domain classifiers."""
        return self.classifier_pairs if self.method in ENSEMBLE else 1

    @property
    def held_out_batch(self) -> int:
        """Rows of each domain by which, beside their batch, classifiers are calibrated."""
        return max(1, self.classifier_batch // 4) if self.method in ENSEMBLE else 0

    @property
    def draws_next_states(self) -> bool:
        """Whether next states are drawn for u(s, a)."""
        return self.method in DRAWING

    @property
    def learns_dynamics(self) -> bool:
        """Whether those next states come from a model that is learned from the real rows."""
        return self.method in REVERSE_KL

    @property
    def learns_state_value(self) -> bool:
        """Whether a network of V(s) is learned beside the critics."""
        return self.method in EXPECTILE

    @property
    def needs_real(self) -> bool:
        """Whether real rows are learned from, if only by the classifiers."""
        return self.sources != 'simulated' or self.classifiers

    @property
    def needs_simulated(self) -> bool:
        """Whether simulated rows are learned from."""
        return self.sources != 'real' or self.classifiers

    def sim_capacity(self, real_rows: int) -> int:
        """Return how many simulated rows are kept beside so many real ones."""
        if not self.needs_simulated:
            return 1
        if self.needs_real and self.sim_buffer_ratio > 0.0:
            return max(1, int(self.sim_buffer_ratio * real_rows))
        return self.sim_buffer_rows

    def as_mapping(self) -> dict[str, Any]:
        """Return every field as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
