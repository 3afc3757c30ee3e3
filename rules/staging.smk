rule staging:
    input:
        motion=lambda wildcards: template_config(staging(wildcards).motion),
        scene=lambda wildcards: scene_files(staging(wildcards).scene),
        files=lambda wildcards: dropped_in_files(staging(wildcards).motion),
        named=named_files("staging", "staged"),
        changed=unseen("staged", "staging"),
    output:
        # occ.mp4 and scene_motion.npz appear beside them where the scene has something in front, and a person.
        videos=ensure(
            [made(f"{name}.mp4", "staged") for name in ("vid", "mask", "sdc", "bk")],
            non_empty=True,
        ),
        motion=ensure(made("motion.npz", "staged"), non_empty=True),
        record=made("records/staging.json", "staged"),
        preview=ensure(made("preview.png", "staged"), non_empty=True),
        config=made("config.json", "staged"),
    log:
        logged("staging", "{staged}.log"),
    benchmark:
        logged("staging", "{staged}.tsv")
    conda:
        environment("staging", "staged")
    threads: threads("staging", "staged")
    resources:
        **needs("staging", "staged", "motion"),
    params:
        folder=subpath(output.config, parent=True),
        motion=subpath(input.motion, parent=True),
        scene=lambda wildcards: project.scene_argument(wildcards.staged),
        options=options("staging", "staged"),
        code=digest("staging", "staged"),
        source=lambda wildcards: scene_content(staging(wildcards).scene),
    message:
        "{wildcards.staged}: putting the motion into the scene"
    shell:
        "python -m video_decomp.staging -o {params.folder:q} --name={wildcards.staged:q}"
        " --motion={params.motion:q} --scene={params.scene:q} {params.options:q} > {log:q} 2>&1"
