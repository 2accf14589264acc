"""Bags are read in every storage and compression, and what is wrong with one is said in a line."""

import importlib.util
import re
import shutil
import sys
import tempfile
import types
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import yaml
from bag_samples import PERIOD, START, TYPES, Messages, columns_to_entries, write_bag

from h2o_ros.data.bags.bag import Bag, BagWriter, default_backend
from h2o_ros.data.bags.compression import decompress_partly
from h2o_ros.data.bags.metadata import finish_metadata
from h2o_ros.data.bags.pack import main as pack
from h2o_ros.data.bags.pack import pack_bag
from h2o_ros.data.bags.recovery import SalvagedSource
from h2o_ros.data.bags.rosbags_backend import typestore_for
from h2o_ros.data.cdr.definitions import Definitions, parse_members
from h2o_ros.data.cdr.layout import blank_message, find_layout
from h2o_ros.errors import BagError

COLUMNS = np.random.default_rng(0).normal(0, 0.1, (40, 5))
ENTRIES = columns_to_entries(COLUMNS)
BACKENDS = ('rosbags', 'rosbag2_py')
FORMATS = [
    ('mcap', 'none'),
    ('mcap', 'storage'),
    ('mcap', 'message'),
    ('mcap', 'file'),
    ('sqlite3', 'none'),
    ('sqlite3', 'message'),
    ('sqlite3', 'file'),
]


def contents(bag):
    return {name: (t.log_times.tolist(), t.messages) for name, t in bag.read(bag.topics).items()}


def expected(entries=ENTRIES):
    return {
        name: (
            [stamp for topic, stamp, _ in entries if topic == name],
            [raw for topic, _, raw in entries if topic == name],
        )
        for name in TYPES
    }


@pytest.fixture
def long_bag(tmp_path):
    """60,000 messages' worth of chunks would be slow; 3 chunks of about 1 MiB are enough."""
    columns = np.random.default_rng(1).normal(0, 0.1, (6000, 5))
    path = tmp_path / 'long'
    entries = columns_to_entries(columns)
    with BagWriter(path, TYPES) as writer:
        for topic, stamp, raw in entries:
            writer.write(topic, stamp, raw)
    return path, entries


@pytest.mark.parametrize(('storage', 'compression'), FORMATS)
def test_every_format_reads_back(tmp_path, storage, compression):
    path = write_bag(tmp_path / 'bag', ENTRIES, storage=storage, compression=compression)
    with Bag(path, 'rosbags') as bag:
        assert bag.topics == TYPES
        assert bag.warning == ''
        assert contents(bag) == expected()


@pytest.mark.parametrize(('storage', 'compression'), FORMATS)
def test_storage_files_read_without_their_metadata(tmp_path, storage, compression):
    path = write_bag(tmp_path / 'bag', ENTRIES, storage=storage, compression=compression)
    (path / 'metadata.yaml').unlink()
    (file,) = path.iterdir()
    for given in (path, file):
        with Bag(given) as bag:
            assert bag.topics == TYPES
            assert bag.warning == ''
            assert contents(bag) == expected()


def test_chunks_in_lz4(tmp_path):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    writer = Writer(tmp_path / 'bag', version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    store = typestore_for(TYPES.values())
    with writer:
        writer.storage.compression = 'lz4'
        writer.storage.compressor = lz4.frame.compress
        topics = {t: writer.add_connection(t, k, typestore=store) for t, k in TYPES.items()}
        for topic, stamp, raw in ENTRIES:
            writer.write(topics[topic], stamp, raw)
    for given in (tmp_path / 'bag', tmp_path / 'bag' / 'bag.mcap'):
        with Bag(given) as bag:
            assert contents(bag) == expected()


def test_writer_keeps_metadata_and_pack_keeps_everything(tmp_path, capsys):
    path = tmp_path / 'bag'
    with BagWriter(path, TYPES, {'operator': 'Ada'}) as writer:
        for topic, stamp, raw in ENTRIES:
            writer.write(topic, stamp, raw)
    information = yaml.safe_load((path / 'metadata.yaml').read_text())
    assert information['rosbag2_bagfile_information']['custom_data'] == {'operator': 'Ada'}
    pack_bag(path, tmp_path / 'packed', level=3)
    assert pack([str(path), str(tmp_path / 'packed')]) == 2
    assert 'packed: exists already' in capsys.readouterr().err
    assert pack([str(path), str(path / 'metadata.yaml' / 'packed')]) == 2
    assert 'metadata.yaml/packed: cannot be written' in capsys.readouterr().err
    assert sorted(f.name for f in (tmp_path / 'packed').iterdir()) == [
        'metadata.yaml',
        'packed.mcap.zstd',
    ]
    for given in (path, tmp_path / 'packed'):
        with Bag(given) as bag:
            assert bag.metadata == {'operator': 'Ada'}
            assert contents(bag) == expected()


def test_packing_what_a_killed_recorder_left_says_that_its_end_is_missing(tmp_path, capsys):
    path = tmp_path / 'bag'
    with BagWriter(path, TYPES) as writer:
        for topic, stamp, raw in ENTRIES:
            writer.write(topic, stamp, raw)
            writer.flush()
    (path / 'metadata.yaml').unlink()
    (storage,) = path.iterdir()
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size // 3])
    assert pack([str(path), str(tmp_path / 'packed')]) == 0
    with Bag(tmp_path / 'packed') as bag:
        kept = sum(len(messages) for _, messages in contents(bag).values())
    said = capsys.readouterr().err
    assert 0 < kept < len(ENTRIES)
    assert said.startswith(f'warning: {path}: {kept} messages could be read; bag.mcap ends at')


def test_writer_refuses(tmp_path):
    (tmp_path / 'bag').mkdir()
    with pytest.raises(BagError, match='bag: exists already'):
        BagWriter(tmp_path / 'bag', TYPES)
    with pytest.raises(BagError, match='type nowhere/msg/Thing is unknown here'):
        BagWriter(tmp_path / 'new', {'/thing': 'nowhere/msg/Thing'})
    assert not (tmp_path / 'new').exists()
    (tmp_path / 'file').write_text('')
    with pytest.raises(BagError, match='file/new: cannot be written'):
        BagWriter(tmp_path / 'file' / 'new', TYPES)
    writer = BagWriter(tmp_path / 'new', TYPES)
    with pytest.raises(ValueError, match="got '/other'"):
        writer.write('/other', 0, b'')
    messages = Messages()
    for stamp in (-1, 2**63):
        with pytest.raises(ValueError, match=f'stamp_ns: .*got {stamp}'):
            writer.write('/action', stamp, messages.action(START, [1.0]))
    good = messages.action(START, [1.0])
    writer.write('/action', START, good)
    writer.close()
    with Bag(tmp_path / 'new') as bag:
        assert bag.read(['/action'])['/action'].messages == [good]
    with pytest.raises(ValueError, match='closed'):
        writer.write('/action', 0, b'')


def test_killed_recorder_loses_no_more_than_five_seconds(tmp_path):
    path = tmp_path / 'bag'
    writer = BagWriter(path, TYPES)
    messages = Messages()
    raw = messages.step(START)
    for row in range(2500):  # 12.5 s, far less than the 1 MiB of a chunk
        writer.write('/action', START + row * PERIOD, raw['/action'])
    with Bag(path) as bag:
        assert 'ends at byte' in bag.warning
        times = bag.read(['/action'])['/action'].log_times
    assert times[0] == START
    assert 10.0e9 <= times[-1] - START < 12.5e9
    writer.close()


def test_truncated_mcap(long_bag):
    path, entries = long_bag
    file = path / 'long.mcap'
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.7)])
    with pytest.raises(BagError, match=r'long\.mcap: truncated or damaged .* copy the bag again'):
        Bag(path, 'rosbags')
    with Bag(file) as bag:
        times, messages = contents(bag)['/imu/data']
        assert f'of {file.stat().st_size} without its index' in bag.warning
        count = sum(len(times) for times, _ in contents(bag).values())
        assert f'{count} messages could be read' in bag.warning
    whole_times, whole_messages = expected(entries)['/imu/data']
    assert 1000 < len(times) < 6000
    assert (times, messages) == (whole_times[: len(times)], whole_messages[: len(times)])


def test_flipped_byte_is_noticed(long_bag):
    path, _ = long_bag
    file = path / 'long.mcap'
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(data)
    for given in (path, file):
        with pytest.raises(BagError, match=r'long\.mcap: .*damaged'), Bag(given) as bag:
            bag.read(bag.topics)


def test_truncated_database(tmp_path):
    columns = np.random.default_rng(1).normal(0, 0.1, (1000, 5))
    entries = columns_to_entries(columns)
    path = write_bag(tmp_path / 'bag', entries, storage='sqlite3')
    file = path / 'bag.db3'
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 6 // 10])
    with (
        pytest.raises(BagError, match=r'bag\.db3: truncated or damaged'),
        Bag(path, 'rosbags') as bag,
    ):
        bag.read(bag.topics)
    times, messages = expected(entries)['/imu/data']
    for lost in (1, 300, 1000, 4096, 5000, 9000, 20_000):  # in the last page, and in several
        file.write_bytes(whole[:-lost])
        with Bag(file) as bag:
            found = contents(bag)
            assert 'bag.db3 is cut short behind' in bag.warning, lost
        for name, (all_times, all_messages) in expected(entries).items():
            count = len(found[name][0])
            assert count > 900
            assert found[name] == (all_times[:count], all_messages[:count]), lost
    for cut in (0.3, 0.5, 0.6, 0.61, 0.62, 0.63):  # within pages and at their ends
        file.write_bytes(whole[: int(len(whole) * cut)])
        with Bag(file) as bag:
            found = contents(bag)['/imu/data']
            assert 'bag.db3 is cut short behind' in bag.warning
        assert 100 < len(found[0]) < 1000
        assert found == (times[: len(found[0])], messages[: len(found[0])])


def test_a_message_of_several_pages_is_whole_or_left_out(tmp_path):
    kind = {'/text': 'std_msgs/msg/String'}
    store = typestore_for(kind.values())
    texts = [f'{number}' * 10_000 for number in range(1, 10)]
    make = store.types['std_msgs/msg/String']
    raw = [bytes(store.serialize_cdr(make(text), 'std_msgs/msg/String')) for text in texts]
    entries = [('/text', START + k, message) for k, message in enumerate(raw)]
    path = write_bag(tmp_path / 'bag', entries, types=kind, storage='sqlite3')
    file = path / 'bag.db3'
    whole = file.read_bytes()
    for lost in range(1, 40_000, 1500):
        file.write_bytes(whole[:-lost])
        with Bag(file) as bag:
            found = bag.read(['/text'])['/text'].messages
        assert 0 < len(found) <= 9 and found == raw[: len(found)], lost


@pytest.mark.parametrize('name', ['torn.mcap', 'torn.db3'])
def test_a_file_of_no_bytes_says_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(BagError, match=f'{name}: (empty; its recorder|not a bag.s database)'):
        Bag(tmp_path / name)


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_topics_are_no_messages(rosbag2, tmp_path, backend):
    with Bag(write_bag(tmp_path / 'bag', ENTRIES), backend) as bag:
        assert bag.read([]) == {}


def test_rosbag2_that_writes_half_a_file_is_told(rosbag2, tmp_path, monkeypatch):
    writer = BagWriter(tmp_path / 'bag', TYPES, backend='rosbag2_py')
    writer.write(*ENTRIES[0])

    def close(fake):  # as on a full disk
        fake.writer.close()
        (file,) = (tmp_path / 'bag').glob('*.mcap')
        file.write_bytes(file.read_bytes()[:-100])
        (tmp_path / 'bag' / 'metadata.yaml').write_text('')

    monkeypatch.setattr(FakeWriter, 'close', close)
    with pytest.raises(BagError, match='cannot be finished .not all of it was written.; is the d'):
        writer.close()
    assert not (tmp_path / 'bag' / 'metadata.yaml').exists()


@pytest.mark.parametrize('step', ['open', 'write'])
def test_what_rosbag2_cannot_write_is_one_line(rosbag2, tmp_path, monkeypatch, step):
    def refuse(*_):
        raise RuntimeError('filesystem error: cannot create directories:\nPermission denied [x]')

    monkeypatch.setattr(FakeWriter, step, refuse)
    with (
        pytest.raises(BagError, match='cannot be written .*Permission denied .x.'),
        BagWriter(tmp_path / 'bag', TYPES, backend='rosbag2_py') as writer,
    ):
        writer.write(*ENTRIES[0])


def test_paths_that_are_no_bag(tmp_path):
    with pytest.raises(BagError, match='nothing: there is no such bag'):
        Bag(tmp_path / 'nothing')
    with pytest.raises(BagError, match='not a bag .no metadata.yaml'):
        Bag(tmp_path)
    write_bag(tmp_path / 'inner', ENTRIES)
    with pytest.raises(BagError, match='did you mean .*inner'):
        Bag(tmp_path)
    (tmp_path / 'text.txt').write_text('1 2 3')
    with pytest.raises(BagError, match=r'text\.txt: not a bag; .*import-recording'):
        Bag(tmp_path / 'text.txt')
    for name in ('torn.mcap', 'torn.db3'):
        (tmp_path / name).write_bytes(b'nothing of the kind')
        with pytest.raises(BagError, match=name):
            Bag(tmp_path / name)
    for name in ('empty.mcap', 'empty.db3'):
        (tmp_path / name).write_bytes(b'')
        with pytest.raises(BagError, match=name):
            Bag(tmp_path / name)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_empty_bag(tmp_path, storage):
    path = write_bag(tmp_path / 'bag', [], storage=storage)
    with pytest.raises(BagError, match='bag: the bag is empty'):
        Bag(path, 'rosbags')


@pytest.mark.parametrize('text', ['rosbag2: [', 'just: text', ''])
def test_damaged_metadata(tmp_path, text):
    path = write_bag(tmp_path / 'bag', ENTRIES)
    (path / 'metadata.yaml').write_text(text)
    with pytest.raises(BagError, match=r'metadata\.yaml: damaged .*remove'):
        Bag(path, 'rosbags')


def test_split_bag_without_metadata_keeps_its_order(tmp_path):
    write_bag(tmp_path / 'a', ENTRIES[:60])
    write_bag(tmp_path / 'b', ENTRIES[60:])
    folder = tmp_path / 'split'
    folder.mkdir()
    shutil.copy(tmp_path / 'a' / 'a.mcap', folder / 'split_9.mcap')
    shutil.copy(tmp_path / 'b' / 'b.mcap', folder / 'split_10.mcap')
    with Bag(folder) as bag:
        assert contents(bag) == expected()


def test_definitions_read_what_ros_writes():
    members = parse_members(
        'pkg/msg/Thing',
        'uint8 ONE=1 # a constant\nHeader header\nfloat64[<=3] few\nint32[4] four\n'
        'string<=5[] names "a"\nOther other\ngeometry_msgs/Point point\nfloat32 x 0.5\n',
    )
    assert [(m.name, m.type, m.array) for m in members] == [
        ('header', 'std_msgs/msg/Header', None),
        ('few', 'float64', 0),
        ('four', 'int32', 4),
        ('names', 'string', 0),
        ('other', 'pkg/msg/Other', None),
        ('point', 'geometry_msgs/msg/Point', None),
        ('x', 'float32', None),
    ]


@pytest.mark.parametrize(
    'kind',
    [
        'sensor_msgs/msg/Imu',
        'sensor_msgs/msg/JointState',
        'sensor_msgs/msg/CameraInfo',
        'nav_msgs/msg/Odometry',
        'diagnostic_msgs/msg/DiagnosticArray',
        'std_msgs/msg/Empty',
        'tf2_msgs/msg/TFMessage',
        'h2o_ros/msg/TransitionBatch',
    ],
)
def test_layout_agrees_with_rosbags(kind):
    store = typestore_for([kind])
    raw = blank_message(kind, Definitions(), {'position': 2}, {'name': ['a', 'longer']})
    message = store.deserialize_cdr(raw, kind)
    assert bytes(store.serialize_cdr(message, kind)) == raw
    find_layout(raw, kind, Definitions())


class FakeRosbag2:
    """Stands in for rosbag2_py: its documented interface, over this package's own salvage.

    It does what the real one was seen to do: it reads a file that is cut short as far as it goes,
    without a word, and writes what it decompresses beside the file.
    """

    def __init__(self):
        module = types.ModuleType('rosbag2_py')
        module.StorageOptions = lambda **values: types.SimpleNamespace(**values)
        module.ConverterOptions = lambda first, second: (first, second)
        module.StorageFilter = lambda topics: types.SimpleNamespace(topics=topics)
        module.TopicMetadata = lambda **values: types.SimpleNamespace(**values)
        module.SequentialReader = type('SequentialReader', (FakeReader,), {'compressed': False})
        module.SequentialCompressionReader = type(
            'Compressed', (FakeReader,), {'compressed': True}
        )
        module.SequentialWriter = FakeWriter
        self.module = module


class FakeReader:
    compressed = False

    def open(self, storage, converter):
        assert converter == ('', '')
        folder = Path(storage.uri)
        information = yaml.safe_load((folder / 'metadata.yaml').read_text())
        information = information['rosbag2_bagfile_information']
        assert storage.storage_id == information['storage_identifier']
        assert self.compressed == bool(information['compression_mode'])
        files = [folder / Path(name).name for name in information['relative_file_paths']]
        for packed in [file for file in files if file.suffix == '.zstd']:
            packed.with_suffix('').write_bytes(decompress_partly(packed.read_bytes()))
        try:
            self.source = SalvagedSource(
                [file.with_suffix('') if file.suffix == '.zstd' else file for file in files]
            )
        except BagError as err:
            raise RuntimeError(f'No storage could be initialized. {err}') from err

    def get_all_topics_and_types(self):
        topics = self.source.topics.items()
        return [types.SimpleNamespace(name=name, type=kind) for name, kind in topics]

    def set_filter(self, chosen):
        raw = self.source.read(chosen.topics)
        rows = [(s, t, m) for t, pair in raw.items() for s, m in zip(*pair, strict=True)]
        self.rows = sorted(rows, key=lambda row: row[0])[::-1]

    def has_next(self):
        return bool(self.rows)

    def read_next(self):
        stamp, topic, raw = self.rows.pop()
        return topic, raw, stamp


class FakeWriter:
    def open(self, storage, converter):
        from rosbags.rosbag2 import StoragePlugin, Writer

        assert (storage.storage_id, storage.storage_preset_profile) == ('mcap', 'zstd_fast')
        self.writer = Writer(storage.uri, version=9, storage_plugin=StoragePlugin.MCAP)
        for key, value in storage.custom_data.items():
            self.writer.set_custom_data(key, value)
        self.writer.open()
        self.topics = {}

    def create_topic(self, topic):
        assert topic.serialization_format == 'cdr'
        store = typestore_for([topic.type])
        self.topics[topic.name] = self.writer.add_connection(
            topic.name, topic.type, typestore=store
        )

    def write(self, topic, raw, stamp):
        self.writer.write(self.topics[topic], stamp, raw)

    def close(self):
        self.writer.close()


@pytest.fixture
def rosbag2(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rosbag2_py', FakeRosbag2().module)
    monkeypatch.delitem(sys.modules, 'h2o_ros.data.bags.rosbag2_py_backend', raising=False)
    yield
    sys.modules.pop('h2o_ros.data.bags.rosbag2_py_backend', None)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Give the folder in which temporary files are made."""
    folder = tmp_path / 'temporary'
    folder.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(folder))
    return folder


def listing(folder):
    return {path: path.stat().st_size for path in folder.rglob('*')}


@pytest.mark.parametrize(('storage', 'compression'), [f for f in FORMATS if f[1] != 'storage'])
@pytest.mark.parametrize('backend', BACKENDS)
def test_every_backend_reads_the_same_and_leaves_no_trace(
    rosbag2, tmp_path, temporary, backend, storage, compression
):
    path = write_bag(tmp_path / 'bag', ENTRIES, storage=storage, compression=compression)
    before = listing(path)
    with Bag(path, backend) as bag:
        assert bag.topics == TYPES
        assert contents(bag) == expected()
    assert listing(path) == before
    assert listing(temporary) == {}


@pytest.mark.parametrize('share', [0.3, 0.5, 0.9, -300, -1])
@pytest.mark.parametrize(
    ('storage', 'compression'),
    [('mcap', 'none'), ('mcap', 'storage'), ('mcap', 'file'), ('sqlite3', 'none')],
)
@pytest.mark.parametrize('backend', BACKENDS)
def test_no_backend_passes_over_what_is_cut_off(
    rosbag2, tmp_path, temporary, backend, storage, compression, share
):
    columns = np.random.default_rng(2).normal(0, 0.1, (2000, 5))
    entries = columns_to_entries(columns)
    path = write_bag(tmp_path / 'bag', entries, storage=storage, compression=compression)
    (file,) = [one for one in path.iterdir() if one.name != 'metadata.yaml']
    whole = file.read_bytes()
    file.write_bytes(whole[: share if share < 0 else int(len(whole) * share)])
    with pytest.raises(BagError) as refused, Bag(path, backend) as bag:
        bag.read(bag.topics)
    told = str(refused.value)
    assert re.search(r'truncated or damaged|holds \d+ of the 6000 messages', told), told
    assert 'copy the bag again, or give the storage file itself' in told
    assert str(path) in told and str(temporary) not in told
    assert listing(temporary) == {}


@pytest.mark.parametrize('backend', BACKENDS)
def test_counts_are_held_against_the_metadata(rosbag2, tmp_path, backend):
    path = write_bag(tmp_path / 'bag', ENTRIES)
    write_bag(tmp_path / 'short', ENTRIES[:60])
    shutil.copy(tmp_path / 'short' / 'short.mcap', path / 'bag.mcap')
    with Bag(path, backend) as bag:
        with pytest.raises(BagError, match='holds 60 of the 120 messages that its metadata'):
            bag.read(bag.topics)
        with pytest.raises(BagError, match='holds 20 of the 40 messages that its metadata'):
            bag.read(['/action'])


TEXTS = {
    'version': '007', 'yes': 'true', 'day': '2026-12-01', 'rate': '1e5', 'none': 'null',
    'empty': '', 'float': '1.50', 'lines': 'one\ntwo', 'name': 'Zoë: "x"', 'hex': '0x1F',
}  # fmt: skip


@pytest.mark.parametrize('writer', BACKENDS)
@pytest.mark.parametrize('reader', BACKENDS)
def test_entries_of_the_recorder_stay_text(rosbag2, tmp_path, writer, reader):
    path = tmp_path / 'bag'
    with BagWriter(path, TYPES, TEXTS, writer) as bag:
        for topic, stamp, raw in ENTRIES:
            bag.write(topic, stamp, raw)
    with Bag(path, reader) as bag:
        assert bag.metadata == TEXTS
    finish_metadata(path, {'operator': '42'})
    with Bag(path, reader) as bag:
        assert bag.metadata == TEXTS | {'operator': '42'}
    pack_bag(path, tmp_path / 'packed')
    with Bag(tmp_path / 'packed', reader) as bag:
        assert bag.metadata == TEXTS | {'operator': '42'}


@pytest.mark.parametrize('reader', BACKENDS)
def test_entries_without_quotes_are_text_too(rosbag2, tmp_path, reader):
    path = write_bag(tmp_path / 'bag', ENTRIES)  # rosbag2 writes them so
    file = path / 'metadata.yaml'
    text = re.sub(r'  custom_data:.*\n', '', file.read_text())
    unquoted = ''.join(
        f'    {name}: {TEXTS[name]}\n' for name in ('version', 'yes', 'day', 'none')
    )
    file.write_text(f'{text}  custom_data:\n{unquoted}')
    with Bag(path, reader) as bag:
        assert bag.metadata == {n: TEXTS[n] for n in ('version', 'yes', 'day', 'none')}


@pytest.mark.parametrize(
    ('installed', 'chosen'),
    [
        (('rosbags', 'rosbag2_py'), 'rosbags'),
        (('rosbag2_py',), 'rosbag2_py'),
        (('rosbags',), 'rosbags'),
    ],
)
def test_the_backend_that_reads_in_memory_is_preferred(monkeypatch, installed, chosen):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name in installed or None)
    assert default_backend() == chosen


def test_rosbag2_py_writes_the_same_and_names_faults(rosbag2, tmp_path):
    path = tmp_path / 'deep' / 'bag'
    with BagWriter(path, TYPES, {'operator': 'Ada'}, 'rosbag2_py') as writer:
        for topic, stamp, raw in ENTRIES:
            writer.write(topic, stamp, raw)
    with Bag(path, 'rosbag2_py') as bag:
        assert bag.metadata == {'operator': 'Ada'}
        assert contents(bag) == expected()
    (path / 'metadata.yaml').write_text('rosbag2: [')
    with pytest.raises(BagError, match=r'metadata\.yaml: damaged'):
        Bag(path, 'rosbag2_py')
    with pytest.raises(BagError, match='empty'):
        Bag(write_bag(tmp_path / 'empty', []), 'rosbag2_py')
