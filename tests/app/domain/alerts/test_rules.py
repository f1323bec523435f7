"""The table of rules: the documents' limits, and sentences that can be said."""

import pytest

from app.domain.alerts.rules import RULES, Rule

BY_NAME = {rule.name: rule for rule in RULES}


def test_no_two_rules_share_a_name():
    assert len(BY_NAME) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_is_wrong_and_what_to_do(rule: Rule):
    said = rule.told("market-feed", 97.25)

    assert "{" not in said
    assert said.endswith(".")
    assert rule.what_to_do


@pytest.mark.parametrize(
    ("name", "well", "wrong", "cooldown_min"),
    [
        ("cpu", 60, 60.1, 5),
        ("memory", 60, 60.1, 5),
        ("disk", 80, 80.1, 10),
        ("disk-critical", 90, 90.1, 10),
        ("api-success", 95, 94.9, 5),
        ("api-errors", 4, 5, 3),
        ("strategy-errors", 2, 3, 5),
        ("database-errors", 2, 3, 5),
        ("no-judgments", 1, 2, 15),
        ("open-interest-still", 0, 1, 60),
        ("ledger-off", 0, 1, 60),
        ("chore-failed", 0, 1, 24 * 60),
        ("database-damaged", 0, 1, 24 * 60),
        ("process-down", 0, 1, 5),
    ],
)
def test_limits_and_cooldowns_are_the_documents(name: str, well: float, wrong: float, cooldown_min: int):
    rule = BY_NAME[name]

    assert (rule.broken_by(well), rule.broken_by(wrong)) == (False, True)
    assert rule.cooldown_s == cooldown_min * 60
