"""A store that does not answer is left alone for a while."""

from __future__ import annotations

import pytest

from lightning_tl.search.stores.circuit import Circuit, UnreachableError


def test_it_opens_after_failures_in_a_row_lets_one_try_and_closes() -> None:
    now, calls = [0.0], [0]
    circuit = Circuit("the store", failures=2, rest_s=10, clock=lambda: now[0])

    def call(error: Exception | None = None) -> None:
        with circuit.call(ConnectionError):
            calls[0] += 1
            if error is not None:
                raise error

    for error in (ConnectionError("gone"), None, ConnectionError("gone"), ConnectionError("gone")):
        try:
            call(error)
        except UnreachableError as told:
            assert str(told) == "the store does not answer: gone"
    assert calls == [4] and circuit.is_open
    now[0] = 9.5
    with pytest.raises(UnreachableError, match=r"is asked again in 0\.5 s"):
        call()
    now[0] = 10.0
    with pytest.raises(UnreachableError, match="gone"):
        call(ConnectionError("gone"))
    assert calls == [5] and circuit.is_open
    now[0] = 20.0
    call()
    call()
    assert calls == [7] and not circuit.is_open
    with pytest.raises(KeyError):  # no failure of the store
        call(KeyError("k"))
    assert not circuit.is_open


@pytest.mark.parametrize(("failures", "rest_s"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_numbers_that_make_no_circuit(failures: int, rest_s: float) -> None:
    with pytest.raises(ValueError, match="failures must be at least 1"):
        Circuit("x", failures, rest_s)
