"""The MJCF files that Gymnasium's package brings, read where it lies."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco

from h2o_ros.errors import ConfigurationError, SimulationError


def find_model(name: str, beside: Path) -> Path:
    """Return a model's file: one beside another file, or the one of Gymnasium's of this name."""
    if (beside.parent / name).is_file():
        return beside.parent / name
    found = importlib.util.find_spec('gymnasium')
    if found is None or found.origin is None:
        raise ConfigurationError(
            f'{name}: this model comes with Gymnasium, which is not installed; '
            'run pip install -r requirements.txt'
        )
    folder = Path(found.origin).parent / 'envs' / 'mujoco' / 'assets'
    if not (folder / name).is_file():
        known = ', '.join(sorted(path.name for path in folder.glob('*.xml')))
        raise ConfigurationError(
            f'{beside}: xml: no {name!r} beside it nor in Gymnasium, which has {known}'
        )
    return folder / name


def compile_model(path: Path) -> mujoco.MjModel:
    """Compile a file of one piece; SimulationError carries MuJoCo's own line.

    The total mass that a file asks for is set afterwards, as MuJoCo wants it: the compiler's
    attribute for it is on its way out.
    """
    try:
        root = ElementTree.parse(path).getroot()
        compiler = root.find('compiler')
        mass = None if compiler is None else compiler.attrib.pop('settotalmass', None)
        model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding='unicode'))
    except (ValueError, ElementTree.ParseError) as err:
        raise SimulationError(f'{path}: {" ".join(str(err).split())}') from err
    if mass is not None:
        mujoco.mj_setTotalmass(model, float(mass))
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model
