"""`--max-seconds` counts from the start of the command."""

import time

from tnjax.cli._clock import counting, left


def test_what_a_command_took_before_the_search_counts():
    with counting(time.perf_counter() - 3.0):
        assert 6.0 < left(10.0) <= 7.0


def test_the_search_gets_half_of_the_time_however_long_the_rest_took():
    with counting(time.perf_counter() - 100.0):
        assert left(10.0) == 5.0


def test_no_limit_stays_none_and_outside_of_a_command_all_of_it_is_left():
    with counting(time.perf_counter()):
        assert left(None) is None
    assert left(10.0) == 10.0
