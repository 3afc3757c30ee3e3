rule motion:
    input:
        source=lambda wildcards: stored(project.motions[wildcards.motion]),
        camera=template_of_camera,
        named=named_files("motion", "motion"),
    output:
        motion=ensure(of_motion("motion.npz"), non_empty=True),
        sdc=ensure(of_motion("sdc.mp4"), non_empty=True),
        record=of_motion("records/motion.json"),
        preview=ensure(of_motion("preview.png"), non_empty=True),
        config=of_motion("config.json"),
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
