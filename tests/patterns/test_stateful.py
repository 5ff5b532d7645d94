"""Units of work, repositories and idempotency do what a model in memory does, in any order of steps."""

from .stateful import machine

TestModel = machine(examples=15, steps=25)
