# `make demo` sets everything up and runs the main job; `make test` sets up and passes the tests.
# AUDIO=<folder> (sub-folders are labels) uses your own audio; GENRE_HOME=<folder> moves the state.
PYTHON ?= python3
BIN := .venv/bin
LOCKED := pyproject.toml uv.lock scripts/bootstrap.py

.PHONY: help setup dev demo up down check docs test coverage sbom test-compose test-faults test-hostile test-simulator bench screenshots clean
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.setup: $(LOCKED)
	@$(PYTHON) scripts/bootstrap.py
.venv/.dev: $(LOCKED)
	@$(PYTHON) scripts/bootstrap.py --dev

setup: .venv/.setup ## install everything from the lock file into .venv
dev: .venv/.dev ## the same, with what tests and checks need

demo: setup ## the main job, on your AUDIO or on synthetic sample music
	@$(BIN)/genre-assets demo $(if $(AUDIO),--audio "$(AUDIO)")
up: setup ## start the local services
	@$(BIN)/genre-assets up
down: setup ## stop them, leaving nothing but the data
	@$(BIN)/genre-assets down

check: dev ## lint, types, dependencies, floors, security of code, workflows and image, Dagster definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r genre_assets triton_models
	$(BIN)/zizmor --offline -q .github/workflows
	$(BIN)/hadolint deploy/images/platform.Dockerfile
	DAGSTER_HOME=$$(mktemp -d) $(BIN)/dagster definitions validate -m genre_assets.definitions --log-level error
sbom: dev ## sbom.json: every component of the lock file that an installation or an image may hold (CycloneDX)
	$(BIN)/uv export --quiet --frozen --format cyclonedx1.5 --all-extras --no-default-groups --group stack --group keeper -o sbom.json > /dev/null
test: dev ## the whole suite, with the real services
	$(BIN)/pytest $(PYTEST_ARGS)
coverage: dev ## how much of the package the tests without a running stack execute, against the floor in pyproject.toml
	$(BIN)/pytest -m "not stack and not browser" --cov --cov-report=term:skip-covered $(PYTEST_ARGS)
test-compose: dev ## docker-compose.yaml on a container engine of its own (root, Debian 12, an hour); COMPOSE_TEST=folder keeps the engine
	$(BIN)/pytest -m compose -x -s genre_assets_tests/compose $(PYTEST_ARGS)
test-faults: dev ## random faults on a running stack under load; KILLS=300 MINUTES=240 SEED=1 ADD=1 (to those of before)
	$(BIN)/python -m genre_assets_tests.faults.storm --kills $(or $(KILLS),300) --minutes $(or $(MINUTES),240) --seed $(or $(SEED),1) $(if $(ADD),--add)
test-hostile: dev ## mutated files and malformed requests through a real server; ITEMS=20000 SEED=1
	$(BIN)/python -m genre_assets_tests.faults.hostile --items $(or $(ITEMS),20000) --seed $(or $(SEED),1) $(if $(ADD),--add)
test-simulator: dev ## the control loop under SCHEDULES=100000 random schedules, from SEED=1
	$(BIN)/python -m genre_assets_tests.simulator --schedules $(or $(SCHEDULES),100000) --seed $(or $(SEED),1) $(if $(ADD),--add)
bench: dev ## measure everything that the docs claim
	$(BIN)/python -m benchmarks.run
docs: dev ## the docs as a site in site/, with its generated pages made anew; opens from the disk
	$(BIN)/python -m genre_assets_tests.site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"
screenshots: dev ## the pictures in the README, from the running stack
	$(BIN)/python scripts/screenshots.py
clean: ## remove the environment (not the data)
	rm -rf .venv
