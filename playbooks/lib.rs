//! The playbooks and rules that ship.
