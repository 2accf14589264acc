"""Installs the parts that need no ROS, and the command h2o; CMakeLists.txt builds the rest."""

from setuptools import find_packages, setup

setup(
    name='h2o_ros',
    version='0.1.0',
    description='Learns a policy from real recordings and a simulator whose physics are wrong',
    license='Apache-2.0',
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['h2o_ros', 'h2o_ros.*']),
    # Names alone: requirements.txt pins the versions.
    install_requires=[
        'cantools',
        'h5py',
        'honcho',
        'matplotlib',
        'msgpack',
        'mujoco',
        'numpy',
        'python-can',
        'PyYAML',
        'rich',
        'rosbags',
        'safetensors',
        'scipy',
        'tensorboard',
        'torch',
    ],
    extras_require={'onnx': ['onnx', 'onnxruntime'], 'ray': ['ray']},
    entry_points={'console_scripts': ['h2o = h2o_ros.cli:main']},
)
