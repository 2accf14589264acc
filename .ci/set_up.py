"""Set up everything that h2o_ros needs, in .venv/, and build it; skip what is done.

Runs on the Python that the environment is made from, with the standard library alone. Each step
says in one line what it does; a failure, in one line, what is missing and how to get it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import typing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
AMENT = VENV / 'ament'
STAMPS = VENV / 'stamps'
LOG = ROOT / 'log' / 'set_up.log'
OLDEST, NEWEST = (3, 10), (3, 12)
NEEDED_SPACE = 4e9  # bytes
AMENT_PACKAGES = ('ament-cmake', 'ament-cmake-core', 'ament-cmake-python')
SYSTEM_PACKAGES = 'sudo apt-get install g++ cmake make python3-dev python3-venv'


class SetUpError(Exception):
    """Something is missing; the message is one line."""


def main() -> int:
    """Do every step that is not done yet; return the exit code."""
    started = time.monotonic()
    try:
        with_ros = installed_ros()
        check_machine(with_ros)
        LOG.parent.mkdir(exist_ok=True)
        lock = LOG.with_suffix('.lock').open('w')
        take_turn(lock)
        LOG.write_text('')
        make_environment(with_ros)
        requirements = install_requirements(with_ros)
        if not with_ros:
            add_ament(requirements)
        install_package(requirements)
        build(with_ros)
    except (SetUpError, OSError) as err:
        print(f'set-up failed: {err}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('set-up interrupted; run it again to go on', file=sys.stderr)
        return 130
    say(f'ready after {time.monotonic() - started:.0f} s')
    return 0


def take_turn(lock: 'typing.TextIO') -> None:
    """Lock a file until this process ends: two set-ups at once would write the same files."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say('another set-up is running in this folder; waiting for it')
        fcntl.flock(lock, fcntl.LOCK_EX)


def say(line: str) -> None:
    """Tell what is done."""
    print(f'set-up: {line}', flush=True)


def installed_ros() -> bool:
    """Say whether a ROS 2 installation is sourced."""
    distribution = os.environ.get('ROS_DISTRO')
    if not distribution or not shutil.which('ros2'):
        return False
    if not shutil.which('colcon'):
        raise SetUpError(
            'ROS 2 is sourced but colcon is missing: '
            'sudo apt-get install python3-colcon-common-extensions'
        )
    say(f'ROS 2 {distribution} is installed and sourced: its rclpy, colcon and messages are used')
    return True


def check_machine(with_ros: bool) -> None:
    """Check what pip cannot install."""
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        raise SetUpError(
            f'Python {version[0]}.{version[1]} at {sys.executable}, but 3.10 to 3.12 is needed: '
            'make setup PYTHON=/path/to/python3.11'
        )
    missing = []
    for name, commands in (
        ('C compiler', (os.environ.get('CC'), 'cc', 'gcc')),
        ('C++ compiler', (os.environ.get('CXX'), 'c++', 'g++')),
        ('CMake', ('cmake',)),
        ('make', ('make', 'ninja')),
    ):
        if not any(command and shutil.which(command.split()[0]) for command in commands):
            missing.append(name)
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').is_file():
        missing.append("Python's headers")
    if not _imports('ensurepip', 'venv'):
        missing.append('the Python module venv')
    if missing:
        raise SetUpError(f'missing: {", ".join(missing)}; {SYSTEM_PACKAGES}')
    if not with_ros and not (shutil.which('apt-get') and shutil.which('dpkg')):
        raise SetUpError(
            'apt-get and dpkg are missing: without ROS 2 this needs Debian or Ubuntu; '
            'elsewhere install and source ROS 2 Jazzy or Kilted'
        )
    check_folder()


def check_folder() -> None:
    """Check the place that all is put into."""
    if re.search(r'\s', str(ROOT)):
        raise SetUpError(
            f"the path {str(ROOT)!r} contains a space, which colcon's set-up files cannot have: "
            'move this folder to a path without'
        )
    if not os.access(ROOT, os.W_OK):
        raise SetUpError(f'{ROOT} cannot be written by this user: check its owner and rights')
    free = shutil.disk_usage(ROOT).free
    if not _done('packages') and free < NEEDED_SPACE:
        raise SetUpError(f'{free / 1e9:.1f} GB free in {ROOT}, {NEEDED_SPACE / 1e9:.0f} GB needed')


def make_environment(with_ros: bool) -> None:
    """Make .venv; made anew where Python, this folder's place or the kind of ROS has changed."""
    version = sys.version.split()[0]
    key = f'Python {version} in {ROOT}, ROS {"installed" if with_ros else "from wheels"}'
    if _done('environment') in (key, None) and _runs_pip(version):
        _stamp('environment', key)
        return
    if VENV.exists():
        say('.venv was made for another Python or folder: made anew')
        shutil.rmtree(VENV)
    say(f'making .venv with Python {version}')
    site = ['--system-site-packages'] if with_ros else []
    _run([sys.executable, '-m', 'venv', *site, str(VENV)], 'the virtual environment was not made')
    _stamp('environment', key)


def install_requirements(with_ros: bool) -> str:
    """Install requirements.txt; returns the key that names what is installed."""
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    if with_ros:
        lines = [line for line in lines if not re.match(r'(ros|colcon)-', line)]
    key = hashlib.sha256('\n'.join(lines).encode()).hexdigest()
    if _done('packages') == key:
        return key
    say('installing the Python packages of requirements.txt (one to four minutes)')
    complaint = 'pip could not install requirements.txt; is there a network?'
    pip = [str(PYTHON), '-m', 'pip', 'install', '--quiet', '--no-input']
    # A new pip first: those of Debian and Ubuntu take minutes to resolve what it does in seconds.
    _run([*pip, *(line for line in lines if line.startswith('pip=='))], complaint)
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / 'requirements.txt'
        chosen.write_text('\n'.join(lines), encoding='utf-8')
        _run([*pip, '--requirement', str(chosen)], complaint)
    _stamp('packages', key)
    return key


def add_ament(requirements: str) -> None:
    """Make .venv an ament prefix: ament_cmake from the distribution, paths that hold here.

    The wheel of ament_cmake lacks modules; Debian's and Ubuntu's packages of it are CMake and
    Python text, so they are unpacked into .venv without being installed and without root.
    """
    if _done('ament') == requirements:
        return
    say("unpacking the distribution's ament_cmake into .venv/ament (nothing is installed)")
    with tempfile.TemporaryDirectory() as folder:
        for package in _download_ament(Path(folder)):
            _run(['dpkg', '-x', str(package), str(AMENT)], f'{package.name} was not unpacked')
    paths = sysconfig.get_paths(vars={'base': str(VENV), 'platbase': str(VENV)})
    modules = AMENT / 'usr' / 'lib' / 'python3' / 'dist-packages'
    (Path(paths['purelib']) / 'ament.pth').write_text(f'{modules}\n')
    _relocate()
    _stamp('ament', requirements)


def _download_ament(folder: Path) -> list[Path]:
    """Download ament_cmake and what it needs of ament into `folder`, with lists of its own."""
    for name in ('lists/partial', 'cache/archives/partial', 'packages'):
        (folder / name).mkdir(parents=True)
    # apt drops root's rights for downloads; the account it takes must reach the folder.
    folder.chmod(0o755)
    options = [
        '-o', f'Dir::State::Lists={folder / "lists"}', '-o', f'Dir::Cache={folder / "cache"}',
        '-o', 'APT::Sandbox::User=root',
    ]  # fmt: skip
    complaint = 'apt-get could not read package lists; is there a network, and a line in sources?'
    _run(['apt-get', *options, 'update'], complaint)
    wanted: list[str] = []
    waiting = list(AMENT_PACKAGES)
    while waiting:
        name = waiting.pop()
        wanted.append(name)
        shown = _run(
            ['apt-cache', *options, 'depends', '--important', name],
            f'apt knows no package {name} (Ubuntu: enable universe); or install ROS 2',
        )
        found = re.findall(r'Depends: <?((?:python3-)?ament-[a-z0-9-]+)', shown)
        waiting += [other for other in set(found) if other not in wanted + waiting]
    packages = folder / 'packages'
    _run(
        ['apt-get', *options, 'download', *wanted],
        f'apt-get could not download {", ".join(wanted)}; is there a network?',
        packages,
    )
    return sorted(packages.glob('*.deb'))


def _relocate() -> None:
    """Replace the paths of the wheels' builder in their CMake files by those of this machine."""
    headers = sysconfig.get_paths()['include']
    for path in (VENV / 'share').rglob('*.cmake'):
        text = path.read_text(encoding='utf-8')
        moved = re.sub(r'/opt/python/cp\d+-cp\d+/include/python3\.\d+', lambda _: headers, text)
        moved = re.sub(r'/opt/python/cp\d+-cp\d+', lambda _: str(VENV), moved)
        if moved != text:
            path.write_text(moved, encoding='utf-8')


def install_package(requirements: str) -> None:
    """Install the command h2o, running from this folder."""
    key = requirements + _digest([ROOT / 'setup.py', ROOT / 'pyproject.toml'])
    if _done('command') == key:
        return
    say('installing the command h2o into .venv/bin')
    pip = [str(PYTHON), '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-build-isolation']
    _run([*pip, '--editable', str(ROOT)], 'the command h2o was not installed')
    _stamp('command', key)


def build(with_ros: bool) -> None:
    """Build the messages and nodes with colcon into install/; edits of Python need no build."""
    key = _digest(_build_inputs()) + str(with_ros) + (_done('ament') or '')
    if _done('build') == key and (ROOT / 'install' / 'setup.bash').exists():
        return
    say('building messages and nodes with colcon into install/')
    # A node that was renamed or removed would stay: an installation adds files only.
    shutil.rmtree(ROOT / 'install' / 'h2o_ros' / 'lib' / 'h2o_ros', ignore_errors=True)
    colcon_build(with_ros, '--symlink-install')
    _stamp('build', key)


def colcon_build(with_ros: bool, *options: str) -> None:
    """Build this folder with ROS's own colcon and rclpy, or with those of .venv."""
    environment = dict(os.environ)
    colcon, python = 'colcon', []
    if not with_ros:
        for name in ('PYTHONPATH', 'COLCON_PREFIX_PATH', 'LD_LIBRARY_PATH'):
            environment.pop(name, None)
        environment['PATH'] = f'{VENV / "bin"}{os.pathsep}{environment["PATH"]}'
        environment['AMENT_PREFIX_PATH'] = str(VENV)
        environment['CMAKE_PREFIX_PATH'] = f'{VENV}{os.pathsep}{AMENT / "usr"}'
        colcon, python = str(VENV / 'bin' / 'colcon'), [f'-DPython3_EXECUTABLE={PYTHON}']
    command = [colcon, 'build', '--packages-select', 'h2o_ros', *options]
    # Configured anew: a build that was begun without .venv has made nodes that do not use it.
    command += ['--cmake-force-configure', '--cmake-args', '-DBUILD_TESTING=ON', *python]
    _run(command, 'colcon could not build h2o_ros', ROOT, environment)


def _build_inputs() -> list[Path]:
    """Return the files on whose content, or mere presence, the build depends."""
    files = [ROOT / 'package.xml', ROOT / 'CMakeLists.txt']
    files += sorted([*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')])
    for folder in ('h2o_ros', 'launch', 'config', 'bags'):
        inner = sorted(path for path in (ROOT / folder).rglob('*') if path.is_file())
        files += [path for path in inner if '__pycache__' not in path.parts]
    return files


def _digest(files: list[Path]) -> str:
    """Hash names, and the contents that CMake reads: package, interfaces, who has a main."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(ROOT)).encode())
        if path.parent == ROOT or path.suffix in ('.msg', '.srv'):
            digest.update(path.read_bytes())
        elif path.parent.name == 'nodes':
            digest.update(b'node' if b'\ndef main(' in path.read_bytes() else b'')
    return digest.hexdigest()


def _imports(*modules: str) -> bool:
    code = '; '.join(f'import {module}' for module in modules)
    return subprocess.run([sys.executable, '-c', code], stderr=subprocess.DEVNULL).returncode == 0


def _runs_pip(version: str) -> bool:
    """Say whether .venv has this Python, and pip."""
    code = 'import pip, sys; print(sys.version.split()[0])'
    try:
        result = subprocess.run([str(PYTHON), '-c', code], capture_output=True, text=True)
    except OSError:
        return False
    return result.returncode == 0 and result.stdout.strip() == version


def _done(step: str) -> 'str | None':
    stamp = STAMPS / step
    return stamp.read_text(encoding='utf-8') if stamp.is_file() else None


def _stamp(step: str, key: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / step).write_text(key, encoding='utf-8')


def _run(
    command: 'list[str]',
    complaint: str,
    folder: 'Path | None' = None,
    environment: 'dict[str, str] | None' = None,
) -> str:
    """Run a command into the log and return its output; SetUpError begins with `complaint`."""
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        errors='replace',
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with LOG.open('a', encoding='utf-8') as log:
        log.write(f'$ {" ".join(command)}\n{result.stdout}\n')
    if result.returncode != 0:
        raise SetUpError(f'{complaint} ({_last_error(result.stdout)}; all of it in {LOG})')
    return result.stdout


def _last_error(output: str) -> str:
    """Return the line of a tool's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r'(ERROR|E:|CMake Error|.*\berror:)', line)]
    return (errors or lines or ['no output'])[-1][:200]


if __name__ == '__main__':
    sys.exit(main())
