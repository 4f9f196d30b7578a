;; A WASI preview 1 program by hand: prints its arguments' number as a JSON document, complains, and exits with the third
;; argument's first digit.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "{\"arguments\": 0}\n")
  (data (i32.const 96) "two\nlines and a half")
  (func $write (param $fd i32) (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
    (if (i32.ne (i32.load (i32.const 8)) (local.get $len)) (then unreachable)))
  (func (export "_start")
    (if (call $args_sizes_get (i32.const 16) (i32.const 20)) (then unreachable))
    (i32.store8 (i32.const 78) (i32.add (i32.const 48) (i32.load (i32.const 16))))
    (call $write (i32.const 1) (i32.const 64) (i32.const 17))
    (call $write (i32.const 2) (i32.const 96) (i32.const 20))
    ;; One argument is the program's own name.
    (if (i32.gt_u (i32.load (i32.const 16)) (i32.const 2)) (then (call $proc_exit (i32.const 1))))))
