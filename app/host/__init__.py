"""The machine: processes, heartbeats, probes, logs and metric snapshots."""
