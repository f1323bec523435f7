"""How much the fleet takes on."""

import pytest

from app.domain.posture import Posture, Stance, step

NORMAL = Stance()


def after(looks: list[tuple[float, float, float]], stance: Stance = NORMAL) -> Stance:
    """The stance after looks at CPU, memory and disk, five seconds apart."""
    for number, (cpu, memory, disk) in enumerate(looks):
        stance = step(stance, cpu=cpu, memory=memory, disk=disk, now_s=5.0 * number)
    return stance


BUSY, CALM, FULL = (97.0, 40.0, 50.0), (20.0, 40.0, 50.0), (20.0, 40.0, 93.0)


def test_a_machine_with_room_takes_on_everything():
    assert after([CALM] * 50).posture == Posture()


@pytest.mark.parametrize("look", [BUSY, (20.0, 95.0, 50.0)])
def test_a_whole_minute_of_strain_holds_back(look: tuple[float, float, float]):
    assert not after([look] * 12).posture.strained
    posture = after([look] * 13).posture
    assert posture.strained
    assert posture.slower == 2.0
    assert f"{max(look[:2]):.0f} %" in posture.why_strained


def test_one_easy_look_within_the_minute_begins_it_anew():
    assert not after([BUSY] * 10 + [CALM] + [BUSY] * 12).posture.strained


def test_two_minutes_of_ease_take_all_on_again():
    strained = Stance(Posture(strained=True, why_strained="CPU"))

    assert after([CALM] * 24, stance=strained).posture.strained
    assert after([CALM] * 25, stance=strained).posture == Posture()
    # Below the limit is not yet ease: the relief itself brings it there.
    assert after([(80.0, 40.0, 50.0)] * 100, stance=strained).posture.strained


def test_a_disk_is_scarce_from_90_percent_until_it_is_below_85():
    looks = {disk: after([(20.0, 40.0, 91.0), (20.0, 40.0, disk)]).posture.scarce for disk in (89.0, 85.0, 84.9)}

    assert looks == {89.0: True, 85.0: True, 84.9: False}
    assert "93 %" in after([FULL]).posture.why_scarce
    assert not after([(20.0, 40.0, 89.9)]).posture.scarce


def test_what_cannot_be_seen_changes_nothing():
    strained = Stance(Posture(strained=True, scarce=True, why_strained="CPU", why_scarce="disk"))

    assert step(strained, cpu=None, memory=None, disk=None, now_s=0.0).posture == strained.posture
