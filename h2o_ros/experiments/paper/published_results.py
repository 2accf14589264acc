"""The paper's own results: Niu et al., NeurIPS 2022, arXiv:2206.13464, tables 1, 2 and 4 to 7.

Average returns as (mean, deviation) by dataset, gap and algorithm. Tables 1 and 2: 5 seeds;
tables 4 (H2O(v)), 6 and 7: 3 seeds; table 5 does not say.
"""

from __future__ import annotations

Number = tuple[float, float]

_SAC = {'gravity': (4513, 513), 'friction': (2684, 2646), 'joint_noise': (4137, 805)}
_CQL = {'medium': (6066, 73), 'medium-replay': (5774, 214), 'medium-expert': (3748, 892)}
_TABLE_1_OTHERS = {
    ('medium', 'gravity'): ((5011, 456), (5706, 440), (7085, 416)),
    ('medium', 'friction'): ((6113, 104), (6047, 112), (6848, 445)),
    ('medium', 'joint_noise'): ((5484, 171), (5314, 520), (7212, 236)),
    ('medium-replay', 'gravity'): ((5105, 460), (4958, 540), (6813, 289)),
    ('medium-replay', 'friction'): ((5503, 263), (5288, 100), (5928, 896)),
    ('medium-replay', 'joint_noise'): ((5137, 225), (5230, 209), (6747, 427)),
    ('medium-expert', 'gravity'): ((4759, 353), (72, 109), (4707, 779)),
    ('medium-expert', 'friction'): ((9038, 1480), (7989, 3999), (6745, 562)),
    ('medium-expert', 'joint_noise'): ((5288, 104), (733, 767), (5280, 1329)),
}

# Table 1, HalfCheetah
TABLE_1: dict[tuple[str, str, str], Number] = {}
for (_dataset, _gap), (_darc, _darc_plus, _h2o) in _TABLE_1_OTHERS.items():
    TABLE_1[_dataset, _gap, 'sac'] = _SAC[_gap]
    TABLE_1[_dataset, _gap, 'cql'] = _CQL[_dataset]
    TABLE_1[_dataset, _gap, 'darc'] = _darc
    TABLE_1[_dataset, _gap, 'darc_plus'] = _darc_plus
    TABLE_1[_dataset, _gap, 'h2o'] = _h2o

# Table 2, HalfCheetah medium-replay, gravity
TABLE_2: dict[str, Number] = {
    'h2o': (6813, 289),
    'h2o_no_omega': (6675, 179),
    'h2o_no_ratio': (4721, 196),
    'h2o_no_omega_no_ratio': (5223, 198),
    'h2o_no_regularisation': (6501, 147),
    'h2o_no_regularisation_no_ratio': (5290, 356),
    'cql': (5774, 214),
    'sac': (4513, 513),
}

# Table 4, HalfCheetah
TABLE_4: dict[tuple[str, str, str], Number] = {
    ('medium', 'gravity', 'h2o_v'): (7040, 517),
    ('medium', 'gravity', 'h2o'): (7085, 416),
    ('medium', 'friction', 'h2o_v'): (5132, 2041),
    ('medium', 'friction', 'h2o'): (6848, 445),
    ('medium', 'joint_noise', 'h2o_v'): (7116, 24),
    ('medium', 'joint_noise', 'h2o'): (7212, 236),
    ('medium-replay', 'gravity', 'h2o_v'): (6589, 281),
    ('medium-replay', 'gravity', 'h2o'): (6813, 289),
    ('medium-replay', 'friction', 'h2o_v'): (6637, 456),
    ('medium-replay', 'friction', 'h2o'): (5928, 896),
    ('medium-replay', 'joint_noise', 'h2o_v'): (6822, 45),
    ('medium-replay', 'joint_noise', 'h2o'): (6747, 427),
    ('medium-expert', 'gravity', 'h2o_v'): (4798, 681),
    ('medium-expert', 'gravity', 'h2o'): (4707, 779),
    ('medium-expert', 'friction', 'h2o_v'): (4726, 2878),
    ('medium-expert', 'friction', 'h2o'): (6745, 562),
    ('medium-expert', 'joint_noise', 'h2o_v'): (4623, 995),
    ('medium-expert', 'joint_noise', 'h2o'): (5280, 1329),
}

# Table 5, HalfCheetah, gravity: by dataset and algorithm
TABLE_5: dict[tuple[str, str], Number] = {
    ('medium', 'h2o'): (7085, 416),
    ('medium-replay', 'h2o'): (6813, 289),
    ('medium-expert', 'h2o'): (4707, 779),
    ('medium', 'h2o_reverse_kl'): (7065, 170),
    ('medium-replay', 'h2o_reverse_kl'): (6476, 129),
    ('medium-expert', 'h2o_reverse_kl'): (4709, 274),
}

# Table 6, Walker2d medium-replay: by gap and algorithm
TABLE_6: dict[tuple[str, str], Number] = {
    ('gravity', 'sac'): (1233, 841),
    ('gravity', 'cql'): (1445, 1077),
    ('gravity', 'darc'): (1987, 965),
    ('gravity', 'darc_plus'): (1618, 1446),
    ('gravity', 'h2o'): (2187, 1103),
    ('friction', 'sac'): (2879, 569),
    ('friction', 'cql'): (1445, 1077),
    ('friction', 'darc'): (2518, 1244),
    ('friction', 'darc_plus'): (2375, 579),
    ('friction', 'h2o'): (3656, 582),
    ('joint_noise', 'sac'): (852, 386),
    ('joint_noise', 'cql'): (1445, 1077),
    ('joint_noise', 'darc'): (64, 115),
    ('joint_noise', 'darc_plus'): (630, 561),
    ('joint_noise', 'h2o'): (2998, 854),
}

# Table 7, HalfCheetah random: by gap and algorithm; H2O with half the usual beta
TABLE_7: dict[tuple[str, str], Number] = {
    ('gravity', 'sac'): (4513, 513),
    ('gravity', 'cql'): (2465, 180),
    ('gravity', 'darc'): (357, 617),
    ('gravity', 'darc_plus'): (-97, 121),
    ('gravity', 'h2o'): (4602, 223),
    ('friction', 'sac'): (2684, 2646),
    ('friction', 'cql'): (2465, 180),
    ('friction', 'darc'): (537, 250),
    ('friction', 'darc_plus'): (425, 99),
    ('friction', 'h2o'): (4862, 1608),
}
