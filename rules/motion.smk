rule motion:
    input:
        source=lambda wildcards: stored(project.motions[wildcards.motion]),
        camera=template_of_camera,
        named=named_files("motion", "motion"),
    output:
        motion=ensure(made("motion.npz", "motion"), non_empty=True),
        sdc=ensure(made("sdc.mp4", "motion"), non_empty=True),
        record=made("records/motion.json", "motion"),
        preview=ensure(made("preview.png", "motion"), non_empty=True),
        config=made("config.json", "motion"),
    log:
        logged("motion", "{motion}.log"),
    benchmark:
        logged("motion", "{motion}.tsv")
    conda:
        environment("motion", "motion")
    threads: threads("motion", "motion")
    resources:
        **needs("motion", "motion", "source"),
    params:
        folder=subpath(output.config, parent=True),
        options=options("motion", "motion"),
        code=digest("motion", "motion"),
        source=content(project.motions, "motion"),
    message:
        "{wildcards.motion}: putting the motion on the body"
    shell:
        "python -m video_decomp.motion -o {params.folder:q} --name={wildcards.motion:q}"
        " {params.options:q} -- {input.source:q} > {log:q} 2>&1"
