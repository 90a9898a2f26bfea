# One run: a method fitted to a dataset with a seed. The resource `timed` keeps runs from disturbing each other's clock:
# profiles/default allows one at a time, profiles/slurm gives each a node of its own. `threads` reserves the cores of a
# run; other jobs use the remaining cores. On a machine where that disturbs the clock too, a profile can reserve all cores:
# `set-threads: fit=16`; a run still uses its own number. `gpu`, `mem_mb` and `runtime` are for cluster schedulers.


rule fit:
    input:
        prepared="results/data/{dataset}/prepared.h5ad",
    output:
        factors="results/runs/{dataset}/{method}/{seed}/factors.h5ad",
        run="results/runs/{dataset}/{method}/{seed}/run.json",
        job="results/runs/{dataset}/{method}/{seed}/job.json",
        model=directory("results/runs/{dataset}/{method}/{seed}/model"),
    log:
        "results/logs/fit/{dataset}/{method}/{seed}.log",
    benchmark:
        "results/benchmarks/fit/{dataset}/{method}/{seed}.tsv"
    priority: fit_priority
    conda:
        ENVIRONMENT
    threads: fit_threads
    resources:
        timed=1,
        gpu=fit_gpu,
        mem_mb=fit_memory,
        runtime=fit_minutes,
    params:
        use=lambda wildcards: method(wildcards)["use"],
        params=lambda wildcards: plan.params_of(config, wildcards.dataset, wildcards.method),
        budget_seconds=lambda wildcards: method(wildcards)["budget"],
        timeout_seconds=lambda wildcards: method(wildcards)["timeout"],
        device=config["device"],
        code=lambda wildcards: code("fit.py", method_file(wildcards.method)),
    script:
        "../scripts/fit.py"
