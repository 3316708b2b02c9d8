"""Which known networks there is time for: the largest that sees enough, in sizes that limits leave room for."""

import pytest

from nasrun.core import Genome
from nasrun.strategies.timed.affordable import LEAST_SEEN, MOST_PASSES, Timing, affordable, wanted_passes
from nasrun.strategies.timed.plan import make_plan
from tests.support import setup_of

SECONDS_PER_FLOP = 1e-6


def chosen(time: float, limit: int | None = 100_000, wanted: float = 40) -> tuple[str, int, list[Genome]]:
    """The chosen network for so many seconds, with pass times in proportion to FLOPs; its parameters, and the timed
    networks."""
    limits = () if limit is None else (f"constraints.parameters={limit}",)
    setup = setup_of("search_space=staged_cnn", "dataset=cifar10", *limits)
    space, task, timed = setup.steered, setup.dataset.task, list[Genome]()

    def seconds_of(genome: Genome) -> float:
        timed.append(genome)
        return setup.space.cost(genome, task).flops * SECONDS_PER_FLOP

    known = list(setup.space.known().values())
    found = affordable(space, task, known, lambda seconds: time / seconds, wanted, seconds_of)
    assert isinstance(found, Timing)
    assert found.seconds == seconds_of(found.genome)
    return setup.space.format(found.genome), setup.space.cost(found.genome, task).parameters, timed[:-1]


def test_with_much_time_it_is_the_best_in_full_size() -> None:
    genome, parameters, timed = chosen(1e9)
    assert genome.startswith("relu-cn_r1_k3_s1_c24-bb_r1_k3_s1")
    assert 90_000 <= parameters <= 100_000
    assert len(timed) == len(set(timed)) <= 6


def test_the_less_time_the_fewer_flops() -> None:
    found = [chosen(time) for time in (1e9, 2500, 1300, 400, 1)]
    kinds = ["-".join(genome.split("-")[1:3]) for genome, _, _ in found]
    wide, plain = "cn_r1_k3_s1_c24-bb_r1_k3_s1_c24", "cn_r1_k3_s1_c16-bb_r1_k3_s1_c16"
    quick = "cn_r1_k3_s2_c16-bb_r1_k3_s1_c16"
    assert kinds == [wide, wide, plain, quick, quick]
    assert found[0][1] >= found[1][1] >= 92_618
    assert found[-1][1] == 78_042  # as its authors have it, though there is room for more


def test_of_many_images_the_best_has_to_see_all_of_them_often_enough() -> None:
    assert chosen(1300, wanted=7)[0].startswith("relu-cn_r1_k3_s1_c16-bb_r1_k3_s1")
    assert chosen(2500, wanted=7)[0].startswith("relu-cn_r1_k3_s1_c24-bb_r1_k3_s1")


def test_a_large_limit_is_not_used_where_there_is_no_time_for_it() -> None:
    assert chosen(1, 10_000_000)[1] == 78_042
    middle = [chosen(time, 10_000_000)[1] for time in (1e4, 1e5, 1e6)]
    assert middle == sorted(middle)
    assert 78_042 < middle[1] < 10_000_000


def test_without_limits_all_are_as_they_are() -> None:
    assert chosen(1e9, None)[1] == 92_618
    assert chosen(1, None)[1] == 78_042


@pytest.mark.parametrize(("images", "passes"), [(100, MOST_PASSES), (50_000, LEAST_SEEN / 50_000)])
def test_few_images_need_not_be_seen_without_end(images: int, passes: float) -> None:
    assert wanted_passes(images) == passes


def test_what_is_alone_gets_all_the_time() -> None:
    plan = make_plan(100, 1, 4000, alone=("relu",))
    assert (plan.candidates, plan.horizon, plan.alone, plan.trials) == (1, 100, ("relu",), 1)
