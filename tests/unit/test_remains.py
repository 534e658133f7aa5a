"""What a stopped server has, read from what PostgreSQL's own programs say of its folder."""

from migrate.target.remains import Remains, read_remains
from migrate.target.timelines import bytes_of, end_of_record, ends_of, parted_at, position_of

CONTROL = """unit: failed
pg_control version number:            1300
Database cluster state:               in production
pg_control last modified:             Sun Nov 29 07:06:21 2026
Latest checkpoint location:           0/5000060
Latest checkpoint's REDO location:    0/5000028
Latest checkpoint's REDO WAL file:    000000010000000000000005
Minimum recovery ending location:     0/0
Timeline of the newest WAL: 1
Last record: 0/05000110 24
"""


def test_a_crashed_server_has_what_its_wal_holds_and_not_only_its_checkpoint() -> None:
    found = read_remains("data1", CONTROL)
    assert found == Remains("data1", False, False, "in production", 1, bytes_of("0/5000128"))
    assert not found.is_down, "it would take writes after a boot"


def test_where_the_wal_cannot_be_read_there_may_be_more() -> None:
    found = read_remains("data1", CONTROL.replace("0/05000110 24", ""))
    assert found.position == bytes_of("0/5000060") + 1
    assert not found.known_to_end


def test_a_replica_has_what_it_has_replayed() -> None:
    text = CONTROL.replace("ending location:     0/0", "ending location:     0/6000000") + "held: yes\n"
    assert read_remains("data2", text).position == bytes_of("0/6000000")
    assert read_remains("data2", text).is_down


def test_a_host_without_data_is_down() -> None:
    assert read_remains("data1", "unit: inactive\n").is_down
    assert not read_remains("data1", "unit: activating\n").is_down


def test_a_record_ends_after_the_headers_of_the_pages_that_it_goes_on_over() -> None:
    assert end_of_record(bytes_of("0/5000110"), 24) == bytes_of("0/5000128")
    assert end_of_record(bytes_of("0/5000110"), 26) == bytes_of("0/5000130"), "aligned to eight bytes"
    assert end_of_record(bytes_of("0/5001FF0"), 30) == bytes_of("0/5002000") + 24 + 16, "14 bytes, aligned"
    assert end_of_record(bytes_of("0/5FFFFF0"), 30) == bytes_of("0/6000000") + 40 + 16, "the first page of a segment"
    assert end_of_record(bytes_of("0/5001FF0"), 16) == bytes_of("0/5002000")


def test_positions_are_written_as_postgresql_does() -> None:
    assert bytes_of("1/2A000028") == (1 << 32) + 0x2A000028
    assert position_of(bytes_of("1/2A000028")) == "1/2A000028"


def test_two_pasts_part_where_the_first_of_them_left_their_last_common_timeline() -> None:
    history = ends_of("1\t0/3C0\tno recovery target specified\n\n2\t0/500\tno recovery target specified\n")
    lead = {**history, 3: 0x700}
    assert parted_at({1: 0x3F0}, lead) == (1, 0x3C0), "it wrote on when another one was promoted"
    assert parted_at({**history, 3: 0x650, 4: 0x6A0}, lead) == (3, 0x650), "it was promoted beside the lead"
    assert parted_at({**history, 3: 0x650}, lead) == (3, 0x650)
    assert parted_at({}, lead) == (0, 0)


def test_the_history_of_a_stopped_server_is_read_too() -> None:
    found = read_remains("data1", f"{CONTROL}History: 1\t0/3C0\tno recovery target\nHistory: 2\t0/500\tno\n")
    assert ends_of(found.history) == {1: 0x3C0, 2: 0x500}
