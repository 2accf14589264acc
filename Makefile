# What one can do here; `make` lists it. Set-up touches nothing outside this folder.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
ARGS ?=

# Everything runs in .venv with the built package's messages on the path.
ENTER := source .venv/bin/activate && source install/setup.bash

LAUNCH := $$(command -v ros2 > /dev/null && echo ros2 launch h2o_ros || echo h2o launch)

.PHONY: help setup build train record deploy demo test lint format bench clean

help:  ## list what one can do
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup:  ## set up .venv and build; skips what is done
	@$(PYTHON) .ci/set_up.py

build: setup  ## build again after a message, node or file was added

train: setup  ## train on the shipped bag; ARGS="seed:=1 algorithm:=sac" changes arguments
	@$(ENTER) && $(LAUNCH) train_sim.launch.py $(ARGS)

record: setup  ## drive the virtual robot by script and record it; ARGS="operator:=keyboard"
	@$(ENTER) && $(LAUNCH) record_teleop.launch.py $(ARGS)

deploy: setup  ## run the policy that `make train` made on the virtual robot, in real time
	@$(ENTER) && $(LAUNCH) deploy_robot.launch.py $(ARGS)

demo: setup  ## record the demonstration bag anew on the virtual robot
	@$(ENTER) && $(LAUNCH) record_demo.launch.py $(ARGS)

test: setup  ## run every test; ARGS="-k task" chooses
	@$(ENTER) && pytest test $(ARGS)

lint: setup  ## check style and types
	@$(ENTER) && ruff check && ruff format --check && mypy

format: setup  ## bring the style in order
	@$(ENTER) && ruff format && ruff check --fix

bench: setup  ## measure; writes docs/benchmarks.md
	@$(ENTER) && python bench/run.py $(ARGS)

clean:  ## remove what was set up and built; runs/ and bags/ stay
	rm -rf .venv build install log .cache .pytest_cache .ruff_cache .mypy_cache *.egg-info
