"""The strategies that judge. Whoever runs, shows or repeats a judgment reads this."""

from app.domain.strategies.ict import strategy as ict
from app.domain.strategies.v3 import strategy as v3

STRATEGIES = {strategy.name: strategy for strategy in (v3.STRATEGY, ict.STRATEGY)}
