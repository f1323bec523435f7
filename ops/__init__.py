"""The operator's shell: the flotilla command, the process guard, the broker, migrations and benchmarks."""
