"""Files whose pages are in memory: struct pages, and page caches as each kernel keeps them."""

from __future__ import annotations

from gcoretools.dumps import PAGE_SIZE
from gcoretools.kernel.page_cache import HUGETLBFS, RAMFS, TMPFS
from tests.fake_kernel import FakeKernel, Object
from tests.fake_memory import SINGLE_PFN
from tests.fake_page_tree import write_radix_tree, write_xarray

UPTODATE, HWPOISON = 1 << 2, 1 << 21

# How many struct pages there are, from the first frame that is handed out.
COUNT = 0x2000

FILE_SYSTEMS = {"tmpfs": TMPFS, "ramfs": RAMFS, "hugetlbfs": HUGETLBFS, "ext4": 0xEF53}

# What of a large folio stands in the tree: one entry that takes all its slots (6b24ca4a1a8d, 5.17), its head in
# each slot (4101196b19d7, 5.4), or each page in its own.
ONE, HEADS, OWN = "one", "heads", "own"


class FakePages:
    """The struct pages of a fake kernel: an array of a NUMA node, so that they lie in its own memory."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.start = kernel.alloc(COUNT * kernel.all_sizes["page"])
        node = kernel.new(
            "pglist_data", node_mem_map=self.start, node_start_pfn=SINGLE_PFN, node_spanned_pages=COUNT
        )
        kernel.symbol("node_data", 16, node.address.to_bytes(16, "little"))

    def __getitem__(self, pfn: int) -> Object:
        return Object(self.kernel, "page", self.start + (pfn - SINGLE_PFN) * self.kernel.all_sizes["page"])


class FakeCache:
    """The page cache of one file.

    Args:
        file: a struct file; its inode gets the size.
        system: a key of FILE_SYSTEMS.
        size: of the file, in bytes.
        folios: ONE, HEADS or OWN.
        order: log2 of the pages in a huge page, for hugetlbfs.
    """

    def __init__(
        self, pages: FakePages, file: Object, system: str = "tmpfs", *, size: int, folios: str = ONE, order: int = 9
    ) -> None:
        self.pages, self.kernel, self.folios = pages, pages.kernel, folios
        inode = Object(self.kernel, "inode", Object(self.kernel, "dentry", file["f_path.dentry"])["d_inode"])
        inode["i_size"] = size
        super_block = self.kernel.new("super_block", s_magic=FILE_SYSTEMS[system], s_dev=1)
        hstate = self.kernel.new("hstate", order=order)
        super_block["s_fs_info"] = self.kernel.new("hugetlbfs_sb_info", hstate=hstate)
        inode["i_sb"] = super_block
        self.mapping = self.kernel.new("address_space", host=inode)
        file["f_mapping"] = self.mapping
        self.entries: dict[int, tuple[int, int]] = {}

    def page(self, index: int, content: bytes, flags: int = UPTODATE) -> int:
        """A page in the cache; its frame."""
        pfn = self.kernel.memory.frame(content)
        self.entries[index] = self.head(pfn, index, flags).address, 0
        return pfn

    def folio(self, index: int, order: int, content: bytes) -> int:
        """A large folio; the frame of its first page."""
        pfn = self.kernel.memory.frames_at(12 + order, content)
        head = self.head(pfn, index, UPTODATE)
        if self.folios == ONE:
            self.entries[index] = head.address, order
            return pfn
        for i in range(1 << order):
            page = self.pages[pfn + i]
            if i and self.folios == OWN:
                page["flags"], page["compound_head"] = UPTODATE, head.address | 1
            self.entries[index + i] = (page if self.folios == OWN else head).address, 0
        return pfn

    def huge(self, index: int, order: int, content: bytes, *, pages: bool) -> int:
        """A huge page of hugetlbfs, whose cache counts pages, or huge pages; the frame of its first page."""
        pfn = self.kernel.memory.frames_at(12 + order, content)
        head = self.head(pfn, index << order if pages else index, UPTODATE)
        self.entries[index << order if pages else index] = head.address, order if pages else 0
        return pfn

    def value(self, index: int, number: int, order: int = 0) -> None:
        """A value: of tmpfs a swap entry, of others a shadow."""
        self.entries[index] = number << 1 | 1 if self.is_xarray else number << 2 | 2, order

    def head(self, pfn: int, index: int, flags: int) -> Object:
        """The struct page of a frame, filled in."""
        page = self.pages[pfn]
        page["flags"], page["index"], page["mapping"] = flags, index, self.mapping
        return page

    @property
    def is_xarray(self) -> bool:
        """Whether the kernel has xarrays."""
        return "xarray.xa_head" in self.kernel.layout.members

    def finish(self, pages_in_memory: int | None = None) -> list[Object]:
        """Write the tree; its nodes, the top one first."""
        count = sum(1 << order for _, order in self.entries.values())
        self.mapping["nrpages"] = count if pages_in_memory is None else pages_in_memory
        name = "xarray" if self.is_xarray else "radix_tree_root"
        write = write_xarray if self.is_xarray else write_radix_tree
        return write(self.kernel, Object(self.kernel, name, self.mapping.at("i_pages")), self.entries)


def pages_of(*contents: str) -> bytes:
    """Pages that begin with these words."""
    return b"".join(each.encode().ljust(PAGE_SIZE, b"\0") for each in contents)
