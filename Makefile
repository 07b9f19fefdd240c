# Two commands: `make demo` and `make test`. Both install what is missing on Debian and Ubuntu; see scripts/install.sh.

.PHONY: help demo test check package web screens soak regress attack bench-pg fuzz properties

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## install what is missing, build, and run a gateway in front of a real PostgreSQL
	@scripts/demo.sh

test: ## everything: format, lints, house rules, all tests, real PostgreSQL, real clients, the demonstration
	@scripts/test.sh

web: ## the web app, built into web/dist; the next `cargo build` takes it into the binary
	@scripts/web.sh

screens: ## a picture of every page, in docs/screens
	@scripts/screens.sh

regress: ## PostgreSQL's own regression suite, straight and through the door: what it prints must be the same
	@cargo build --locked -p safeconduct
	@scripts/pg-regress.sh

attack: ## every statement of PostgreSQL's tests sent by somebody who may only read
	@SAFECONDUCT_ATTACK=all cargo test --locked -p safeconduct-gateway-postgres --test corpus -- --nocapture

fuzz: ## the fuzz targets over many seeded inputs: SEED=1 TIMES=1000000
	@SEED=$${SEED:-1} TIMES=$${TIMES:-1000000} cargo test --locked -p safeconduct-fuzz --test brief -- --nocapture

properties: ## the property tests over cases nobody has seen; CASES=20000 for those that name no number
	@PROPTEST_CASES=$${CASES:-20000} cargo test --locked --no-fail-fast -p safeconduct-evidence -p safeconduct-ledger -p safeconduct-lifecycle \
		-p safeconduct-model -p safeconduct-policy -p safeconduct-protocol -p safeconduct-sql

soak: ## kill -9 at seeded points under load: SEED=1 ROUNDS=200
	@cargo build --locked -p safeconduct-verify
	@SEED=$${SEED:-1} ROUNDS=$${ROUNDS:-200} cargo test --locked -p safeconduct --test faults -- --nocapture soak

package: ## a Debian package and a tarball of a release build
	@scripts/package.sh

bench-pg: ## measure the door beside the server itself and pgbouncer; about 20 minutes on a quiet machine
	@scripts/bench-pg.sh $(ARGS)

check: ## the short loop: format, lints, house rules
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@cargo run --quiet --locked -p xtask -- check
