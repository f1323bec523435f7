"""The worker shells. To add a process, write its module with main() and a block in supervisord.conf."""
