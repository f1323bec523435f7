"""How requests are counted, refused and banned."""

from app.exchanges.demo.limits import Budget


class Clock:
    now_ms = 60_000 * 1_000

    def __call__(self) -> int:
        return self.now_ms


def test_a_minute_has_so_much_weight_and_the_next_one_again():
    clock = Clock()
    budget = Budget(100, clock)

    assert [budget.spend(40) is None for _ in range(3)] == [True, True, False]
    clock.now_ms += 60_000
    assert budget.spend(40) is None


def test_the_refusal_says_how_long_the_minute_lasts():
    clock = Clock()
    clock.now_ms += 12_000
    budget = Budget(1, clock)
    refusal = budget.spend(2)

    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 48)


def test_who_goes_on_is_banned_longer_each_time():
    clock = Clock()
    budget = Budget(1, clock)
    bans = []
    for _ in range(2):
        refusals = [budget.spend(2) for _ in range(8)]
        bans.append(next(refusal.retry_after_s for refusal in refusals if refusal and refusal.status == 418))
        clock.now_ms += 300_000

    assert bans == [120, 240]


def test_only_requests_after_the_first_refusal_are_inside_the_ban():
    clock = Clock()
    budget = Budget(1, clock, bans=False)
    for _ in range(3):
        budget.spend(2)

    assert budget.report().requests_inside_ban == 2
    budget.pardon()
    assert budget.spend(1) is None
