"""Python packages: resolved by uv, unpacked as an installer would, compiled to bytecode."""
