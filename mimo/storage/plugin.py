"""Snakemake's S3 storage plugin, with what this workflow needs beyond it.

- The plugin lists the folder of the first file that it is asked about and takes that for the whole bucket,
  so that every other file costs several requests at planning. Here one listing tells of all.
- ``occ.mp4`` is no declared output, since it exists only if something passes in front of the person. It
  travels with the record that holds its digest: before the record when stored, beside it when retrieved.
- The plugin deletes a bucket whose last file it removed.
- The plugin cannot tell the size of an output that is not stored yet, which ``ensure`` asks for.
- ``snakemake --touch`` works: an object copied onto itself has a new time.
"""

from __future__ import annotations

from pathlib import Path

from snakemake_interface_storage_plugins.io import IOCacheStorageInterface, Mtime
from snakemake_interface_storage_plugins.storage_object import StorageObjectTouch
from snakemake_storage_plugin_s3 import StorageObject as PluginObject
from snakemake_storage_plugin_s3 import StorageProvider as PluginProvider
from snakemake_storage_plugin_s3 import StorageProviderSettings as StorageProviderSettings

from mimo.storage.addresses import bucket_and_key, companion
from mimo.storage.bucket import listing

_folders: set[Path] = set()


def register(folders: set[Path]) -> None:
    """Take the place of the plugin, and list the run's folders.

    Args:
        folders: remote folders (their local copies) in which all remote files of the workflow lie.

    Raises:
        Rejected: see `listing`.
    """
    from snakemake_interface_storage_plugins.registry import StoragePluginRegistry

    import mimo.storage.plugin as plugin

    registry = StoragePluginRegistry()
    registry.plugins["s3"] = registry.load_plugin("s3", plugin)
    _folders.update(folders)
    for folder in folders:
        listing(folder)


class StorageProvider(PluginProvider):
    """The plugin's; Snakemake takes the class of objects from the module of this one."""


class StorageObject(PluginObject, StorageObjectTouch):
    """A remote file."""

    async def inventory(self, cache: IOCacheStorageInterface) -> None:
        """Tell what the listings know: what is not in them does not exist."""
        bucket = self.get_inventory_parent()
        if bucket in cache.exists_in_storage:
            return
        cache.exists_in_storage[bucket] = True
        cache.exists_in_storage.has_inventory.add(bucket)
        for folder in _folders:
            for path, entry in listing(folder).items():
                key = str(path)
                cache.exists_in_storage[key] = True
                cache.mtime[key] = Mtime(storage=entry.modified)
                cache.size[key] = entry.size

    def size(self) -> int:
        """Bytes of the file, of the local copy if there is one: `ensure` asks before an output is stored."""
        local = Path(self.local_path())
        return local.stat().st_size if local.is_file() else super().size()

    def store_object(self) -> None:
        """Upload the file, and before it its companion, or the news that there is none."""
        beside = companion(Path(self.local_path()))
        if beside is not None and beside.is_file():
            self.s3bucket().upload_file(str(beside), bucket_and_key(beside)[1])
        elif beside is not None:
            self.s3bucket().Object(bucket_and_key(beside)[1]).delete()
        super().store_object()

    def retrieve_object(self) -> None:
        """Download the file, and before it its companion."""
        beside = companion(Path(self.local_path()))
        if beside is not None:
            key = bucket_and_key(beside)[1]
            beside.unlink(missing_ok=True)
            if any(item.key == key for item in self.s3bucket().objects.filter(Prefix=key)):
                self.s3bucket().download_file(key, str(beside))
        super().retrieve_object()

    def remove(self) -> None:
        """Delete the file; its companion stays as a local one does, until the stage runs again."""
        self.s3obj().delete()

    def touch(self) -> None:
        """Give the object a new time."""
        source = {"Bucket": self.bucket, "Key": self.key}
        self.s3obj().copy_from(CopySource=source, MetadataDirective="REPLACE")
