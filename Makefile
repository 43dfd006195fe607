.PHONY: check lint format lock test

# What CI runs: everything below but `format` and `lock`.
check: lint test

lint:
	uv run ruff check
	uv run ruff format --check
	uv run mypy
	uv run lint-imports

test:
	uv run pytest

format:
	uv run ruff check --fix
	uv run ruff format

# After a change of dependencies: write the versions and hashes that everybody gets.
lock:
	uv lock
	uv export --quiet --frozen --no-header --no-emit-project --all-extras --output-file requirements.lock
