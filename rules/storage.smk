"""Folders on S3-compatible storage: their files pass through Snakemake's storage plugin."""

REMOTE_FILES = [
    *("vid.mp4", "mask.mp4", "sdc.mp4", "bk.mp4", "motion.npz"),
    "records/occlusion.json",  # brings occ.mp4
]


def stored(path):
    """A file as rules name it: its path, or an object of the storage where its folder is there."""
    place = address(path)
    return storage.s3(place) if place else str(path)


if project.config.remote_folders:
    from mimo.storage.plugin import register

    if workflow.storage_settings.local_storage_prefix != COPIES.parent:
        raise WorkflowError(
            f"local copies of remote files lie in {COPIES.parent}; leave out --local-storage-prefix"
        )
    try:
        register(project.config.remote_folders)
    except Rejected as error:
        raise WorkflowError(str(error)) from None

    storage:
        provider="s3",
        # The report and the next run read them here; they may be deleted between runs.
        keep_local=True,


def template_files(wildcards):
    """Files of a template that its config.json does not stand for.

    Those of a template dropped in by hand; of one made here only if it is remote: they have to be brought.
    """
    name = wildcards.template
    files = project.dropped_in_files(name)
    if name not in project.dropped_in and address(project.config.templates):
        made = REMOTE_FILES if name in project.videos else ["sdc.mp4", "motion.npz"]
        files = [f"{project.config.templates}/{name}/{file}" for file in made]
    return [stored(file) for file in files]
