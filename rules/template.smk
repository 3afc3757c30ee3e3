rule template:
    input:
        rules.ingest.output,
        rules.segmentation.output,
        rules.pose.output,
        rules.occlusion.output,
        rules.inpainting.output,
        unseen("video", "occlusion"),
    output:
        preview=ensure(made("preview.png"), non_empty=True),
        config=made("config.json"),
    log:
        logged("template", "{video}.log"),
    benchmark:
        logged("template", "{video}.tsv")
    conda:
        environment("template", "video")
    threads: threads("template", "video")
    resources:
        **needs("template", "video", 0),
    params:
        folder=subpath(output.config, parent=True),
        options=options("template", "video"),
        code=digest("template", "video"),
    message:
        "{wildcards.video}: checking and packing the template"
    shell:
        "python -m video_decomp.pack --template={params.folder:q} --name={wildcards.video:q}"
        " {params.options:q} > {log:q} 2>&1"


rule templates:
    input:
        every(rules.ingest.output, video=project.videos),
        every(rules.segmentation.output, video=project.videos),
        every(rules.pose.output, video=project.videos),
        every(rules.occlusion.output, video=project.videos),
        every(rules.inpainting.output, video=project.videos),
        every(rules.template.output, video=project.videos),
        every(rules.motion.output, motion=project.motions),
        every(rules.staging.output, staged=project.results.staged),
        every(rules.group.output, group=project.cast_groups),
        every(rules.inpainting.output, video=project.cast_groups),
        every(rules.group_template.output, group=project.cast_groups),
