"""The local stack: every service as a process under one supervisor, started and stopped by one command.

`local` is up, down and status; `supervisor` and `webserver` are processes of their own; `configuration` is what the stack
remembers, `own_stack` which stack a command means. Add here: what the stack as a whole does. Not here: anything that the
platform needs where its services are run by others.
"""
