"""Workflows, roles and runners: what the file may say of them, and what that means; in `defaults` the built-in one."""
