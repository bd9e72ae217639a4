/** The option `spool`: decisions in files, which outlive the process. */

export interface SpoolOptions {
  /**
   * The directory, for this application's user alone. It is made if its parent is there; several processes may share it.
   * On a file system of this machine: not NFS, SMB or FUSE.
   */
  directory: string;

  /** The most bytes of files, from 4 MiB. A twentieth of the disk stays free anyway. Default: 1 GiB. */
  maxBytes?: number | undefined;

  /**
   * After how many ms what was written survives a power loss, too; 0: when the kernel writes it. With `'always'` a
   * `flush()` that leaves something pending waits for the disk. Default: 1000.
   */
  syncIntervalMillis?: number | 'always' | undefined;
}

export interface SpoolStats {
  /** Of its files, those that are found and those that are kept ready included. */
  readonly bytes: number;
  readonly segments: number;
  /** Decisions that other processes left, of those that are read so far; `accepted` counts them, too. */
  readonly found: number;
  /** Of what they left, what was damaged. */
  readonly missing: number;
  /** Decisions that were in memory only, since no file had room for them. */
  readonly unwritten: number;
  /** Decisions that wait on disk until there is memory for them. */
  readonly diskOnly: number;
  /** Why it takes no more, while it does not. */
  readonly error: string | null;
}
