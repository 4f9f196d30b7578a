;; Says whether its memory, table and global are as new, and fills them.
(component
  (core module $m
    (memory (export "memory") 64)
    (table $t 64 funcref)
    (global $g (mut i32) (i32.const 0))
    (data (i32.const 64) "\"clean\"")
    (data (i32.const 128) "\"dirty\"")
    (elem declare func $nothing)
    (func $nothing)

    (func (export "run") (result i32)
      (local $at i32) (local $dirty i32)
      ;; Everything behind the first page's data must be zero.
      (local.set $at (i32.const 256))
      (loop $look
        (local.set $dirty (i32.or (local.get $dirty)
          (i64.ne (i64.load (local.get $at)) (i64.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $look (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
      (local.set $dirty (i32.or (local.get $dirty) (global.get $g)))
      (local.set $dirty (i32.or (local.get $dirty)
        (i32.eqz (ref.is_null (table.get $t (i32.const 63))))))
      ;; And is left as dirty as can be.
      (memory.fill (i32.const 256) (i32.const 0xaa)
        (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 256)))
      (global.set $g (i32.const 1))
      (table.set $t (i32.const 63) (ref.func $nothing))
      (i32.store8 (i32.const 0) (i32.const 0))
      (i32.store (i32.const 4) (select (i32.const 128) (i32.const 64) (local.get $dirty)))
      (i32.store (i32.const 8) (i32.const 7))
      (i32.const 0)))
  (core instance $i (instantiate $m))
  (func $run (result (result string (error string)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))))
  (export "run" (func $run)))
