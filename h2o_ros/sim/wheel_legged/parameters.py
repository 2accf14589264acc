"""Writes a virtual robot's parameters into the compiled MuJoCo model."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from h2o_ros.robot.description import WHEEL_RADIUS, WHEELS, RobotParameters

LEGS = ('thigh', 'shin')
LEG_JOINTS = ('hip', 'knee')


@dataclass(frozen=True)
class StandingPose:
    """The legs at rest under the load at pitch 0.

    hip, knee: deflection in rad. axle_x, axle_z: the axle as seen from the hip in m. axle_height:
    of the axle above the floor in m, a little under the wheel's radius. hip_height: of the hip
    where the z joint is at zero, m.
    """

    hip: float
    knee: float
    axle_x: float
    axle_z: float
    axle_height: float
    hip_height: float


def apply_parameters(model: mujoco.MjModel, parameters: RobotParameters) -> None:
    """Change masses, friction, lag and compliance of virtual_robot.xml in memory."""
    _place_mass(model, parameters)
    for name in WHEELS:
        dof = model.joint(name).dofadr[0]
        model.dof_frictionloss[dof] = 0.5 * parameters.coulomb_friction
        model.dof_damping[dof] = 0.5 * parameters.viscous_friction
        actuator = model.actuator(name)
        actuator.dynprm[0] = parameters.torque_lag
        # The limit is one of the command; what the motor makes of it is the gain's affair.
        actuator.ctrlrange[:] *= parameters.torque_gain
    for side in ('left', 'right'):
        tendon = model.tendon(f'{side}_rolling').id
        model.tendon_frictionloss[tendon] = 0.5 * parameters.rolling_resistance
    for name in ('floor', 'left_tread', 'right_tread'):
        model.geom(name).friction[0] = parameters.sliding_friction
    for name in LEG_JOINTS:
        model.jnt_stiffness[model.joint(name).id] = parameters.leg_stiffness
        model.dof_damping[model.joint(name).dofadr[0]] = parameters.leg_damping
    mujoco.mj_setConst(model, mujoco.MjData(model))
    _hold_legs(model)


def standing_pose(model: mujoco.MjModel) -> StandingPose:
    """Let the robot settle with pitch and x held; return its pose after half a second."""
    data = mujoco.MjData(model)
    held = [int(model.joint(name).dofadr[0]) for name in ('x', 'pitch')]
    kept = [int(model.joint(name).qposadr[0]) for name in ('x', 'pitch')]
    for _ in range(500):
        mujoco.mj_step(model, data)
        data.qpos[kept] = model.qpos0[kept]
        data.qvel[held] = 0.0
    mujoco.mj_forward(model, data)
    axle = data.body('left_wheel').xpos
    offset = axle - data.body('body').xpos
    hip, knee = (float(data.joint(name).qpos[0]) for name in LEG_JOINTS)
    height = float(model.body('body').pos[2])
    return StandingPose(hip, knee, float(offset[0]), float(offset[2]), float(axle[2]), height)


def _place_mass(model: mujoco.MjModel, parameters: RobotParameters) -> None:
    """Give the body what the legs lack to the mass, centre and inertia that were asked for."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    body = model.body('body').id
    legs = [model.body(name).id for name in LEGS]
    centre = data.body('left_wheel').xpos + [parameters.com_offset, 0.0, parameters.com_height]
    masses = model.body_mass[legs]
    own_mass = parameters.body_mass - masses.sum()
    own_centre = (parameters.body_mass * centre - masses @ data.xipos[legs]) / own_mass
    from_centre = ((data.xipos[legs] - centre)[:, [0, 2]] ** 2).sum(1)
    leg_inertia = (model.body_inertia[legs, 1] + masses * from_centre).sum()
    shift = ((own_centre - centre)[[0, 2]] ** 2).sum()
    own_inertia = parameters.pitch_inertia - leg_inertia - own_mass * shift
    if own_mass <= 0.0 or own_inertia <= 0.0:
        raise ValueError(
            f'body_mass {parameters.body_mass} kg, com_height {parameters.com_height} m and '
            f'pitch_inertia {parameters.pitch_inertia} kg·m²: the legs alone have more; '
            'raise body_mass or pitch_inertia'
        )
    model.body_mass[body] = own_mass
    model.body_ipos[body] = own_centre - data.xpos[body]
    model.body_inertia[body, 1] = own_inertia


def _hold_legs(model: mujoco.MjModel) -> None:
    """Preload the leg springs, so that the weight leaves the standing angles as they are."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    jacobian = np.zeros((3, model.nv))
    contact = data.body('left_wheel').xpos - [0.0, 0.0, WHEEL_RADIUS]
    mujoco.mj_jac(model, data, jacobian, None, contact, model.body('shin').id)
    weight = -float(model.body_mass.sum() * model.opt.gravity[2])
    for name in LEG_JOINTS:
        joint = model.joint(name)
        dof = joint.dofadr[0]
        torque = data.qfrc_bias[dof] - jacobian[2, dof] * weight
        model.qpos_spring[joint.qposadr[0]] = torque / model.jnt_stiffness[joint.id]
