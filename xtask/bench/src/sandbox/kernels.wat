;; The loops that metering is measured on. Each function takes how often it does its work and answers a check of the result.
(module
  (memory (export "memory") 32)
  ;; SHA-256's constants at 0 and first state at 256; the schedule at 512, the state at 1024, the message from 4096.
  (data (i32.const 0) "\98\2f\8a\42\91\44\37\71\cf\fb\c0\b5\a5\db\b5\e9\5b\c2\56\39\f1\11\f1\59\a4\82\3f\92\d5\5e\1c\ab\98\aa\07\d8\01\5b\83\12\be\85\31\24\c3\7d\0c\55\74\5d\be\72\fe\b1\de\80\a7\06\dc\9b\74\f1\9b\c1\c1\69\9b\e4\86\47\be\ef\c6\9d\c1\0f\cc\a1\0c\24\6f\2c\e9\2d\aa\84\74\4a\dc\a9\b0\5c\da\88\f9\76\52\51\3e\98\6d\c6\31\a8\c8\27\03\b0\c7\7f\59\bf\f3\0b\e0\c6\47\91\a7\d5\51\63\ca\06\67\29\29\14\85\0a\b7\27\38\21\1b\2e\fc\6d\2c\4d\13\0d\38\53\54\73\0a\65\bb\0a\6a\76\2e\c9\c2\81\85\2c\72\92\a1\e8\bf\a2\4b\66\1a\a8\70\8b\4b\c2\a3\51\6c\c7\19\e8\92\d1\24\06\99\d6\85\35\0e\f4\70\a0\6a\10\16\c1\a4\19\08\6c\37\1e\4c\77\48\27\b5\bc\b0\34\b3\0c\1c\39\4a\aa\d8\4e\4f\ca\9c\5b\f3\6f\2e\68\ee\82\8f\74\6f\63\a5\78\14\78\c8\84\08\02\c7\8c\fa\ff\be\90\eb\6c\50\a4\f7\a3\f9\be\f2\78\71\c6")
  (data (i32.const 256) "\67\e6\09\6a\85\ae\67\bb\72\f3\6e\3c\3a\f5\4f\a5\7f\52\0e\51\8c\68\05\9b\ab\d9\83\1f\19\cd\e0\5b")

  (func $block (param $at i32)
    (local $i i32) (local $w i32) (local $t1 i32) (local $t2 i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32)
    (local $e i32) (local $f i32) (local $g i32) (local $h i32)
    ;; The schedule. The message is read as little-endian words: the work is the same.
    (memory.copy (i32.const 512) (local.get $at) (i32.const 64))
    (local.set $i (i32.const 576))
    (loop $schedule
      (local.set $t1 (i32.load (i32.sub (local.get $i) (i32.const 60))))
      (local.set $t2 (i32.load (i32.sub (local.get $i) (i32.const 8))))
      (i32.store (local.get $i)
        (i32.add
          (i32.add (i32.load (i32.sub (local.get $i) (i32.const 64)))
            (i32.xor (i32.xor (i32.rotr (local.get $t1) (i32.const 7)) (i32.rotr (local.get $t1) (i32.const 18)))
              (i32.shr_u (local.get $t1) (i32.const 3))))
          (i32.add (i32.load (i32.sub (local.get $i) (i32.const 28)))
            (i32.xor (i32.xor (i32.rotr (local.get $t2) (i32.const 17)) (i32.rotr (local.get $t2) (i32.const 19)))
              (i32.shr_u (local.get $t2) (i32.const 10))))))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $schedule (i32.lt_u (local.get $i) (i32.const 768))))
    (local.set $a (i32.load (i32.const 1024))) (local.set $b (i32.load (i32.const 1028)))
    (local.set $c (i32.load (i32.const 1032))) (local.set $d (i32.load (i32.const 1036)))
    (local.set $e (i32.load (i32.const 1040))) (local.set $f (i32.load (i32.const 1044)))
    (local.set $g (i32.load (i32.const 1048))) (local.set $h (i32.load (i32.const 1052)))
    (local.set $i (i32.const 0))
    (loop $round
      (local.set $t1
        (i32.add
          (i32.add (local.get $h)
            (i32.xor (i32.xor (i32.rotr (local.get $e) (i32.const 6)) (i32.rotr (local.get $e) (i32.const 11)))
              (i32.rotr (local.get $e) (i32.const 25))))
          (i32.add
            (i32.xor (i32.and (local.get $e) (local.get $f))
              (i32.and (i32.xor (local.get $e) (i32.const -1)) (local.get $g)))
            (i32.add (i32.load (local.get $i)) (i32.load offset=512 (local.get $i))))))
      (local.set $t2
        (i32.add
          (i32.xor (i32.xor (i32.rotr (local.get $a) (i32.const 2)) (i32.rotr (local.get $a) (i32.const 13)))
            (i32.rotr (local.get $a) (i32.const 22)))
          (i32.xor (i32.xor (i32.and (local.get $a) (local.get $b)) (i32.and (local.get $a) (local.get $c)))
            (i32.and (local.get $b) (local.get $c)))))
      (local.set $h (local.get $g)) (local.set $g (local.get $f)) (local.set $f (local.get $e))
      (local.set $e (i32.add (local.get $d) (local.get $t1)))
      (local.set $d (local.get $c)) (local.set $c (local.get $b)) (local.set $b (local.get $a))
      (local.set $a (i32.add (local.get $t1) (local.get $t2)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $round (i32.lt_u (local.get $i) (i32.const 256))))
    (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (local.get $a)))
    (i32.store (i32.const 1028) (i32.add (i32.load (i32.const 1028)) (local.get $b)))
    (i32.store (i32.const 1032) (i32.add (i32.load (i32.const 1032)) (local.get $c)))
    (i32.store (i32.const 1036) (i32.add (i32.load (i32.const 1036)) (local.get $d)))
    (i32.store (i32.const 1040) (i32.add (i32.load (i32.const 1040)) (local.get $e)))
    (i32.store (i32.const 1044) (i32.add (i32.load (i32.const 1044)) (local.get $f)))
    (i32.store (i32.const 1048) (i32.add (i32.load (i32.const 1048)) (local.get $g)))
    (i32.store (i32.const 1052) (i32.add (i32.load (i32.const 1052)) (local.get $h))))

  ;; So many times 64 KiB.
  (func (export "sha256") (param $times i32) (result i32)
    (local $at i32)
    (memory.copy (i32.const 1024) (i32.const 256) (i32.const 32))
    (loop $again
      (local.set $at (i32.const 4096))
      (loop $blocks
        (call $block (local.get $at))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br_if $blocks (i32.lt_u (local.get $at) (i32.const 69632))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i32.load (i32.const 1024)))

  ;; 128 x 128 matrices at 131072 and 262144, into 393216.
  (func (export "matmul-i32") (param $times i32) (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $sum i32)
    (local.set $i (i32.const 0))
    (loop $fill
      (i32.store offset=131072 (local.get $i) (i32.mul (local.get $i) (i32.const 2654435)))
      (i32.store offset=262144 (local.get $i) (i32.mul (local.get $i) (i32.const 40503)))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 65536))))
    (loop $again
      (local.set $i (i32.const 0))
      (loop $rows
        (local.set $j (i32.const 0))
        (loop $columns
          (local.set $sum (i32.const 0))
          (local.set $k (i32.const 0))
          (loop $inner
            (local.set $sum (i32.add (local.get $sum)
              (i32.mul
                (i32.load offset=131072 (i32.add (i32.shl (local.get $i) (i32.const 9)) (i32.shl (local.get $k) (i32.const 2))))
                (i32.load offset=262144 (i32.add (i32.shl (local.get $k) (i32.const 9)) (i32.shl (local.get $j) (i32.const 2)))))))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br_if $inner (i32.lt_u (local.get $k) (i32.const 128))))
          (i32.store offset=393216
            (i32.add (i32.shl (local.get $i) (i32.const 9)) (i32.shl (local.get $j) (i32.const 2)))
            (local.get $sum))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $columns (i32.lt_u (local.get $j) (i32.const 128))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $rows (i32.lt_u (local.get $i) (i32.const 128))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i32.load offset=393216 (i32.const 65532)))

  ;; 65,536 words at 524288 by Shell's sort.
  (func (export "sort") (param $times i32) (result i32)
    (local $i i32) (local $j i32) (local $gap i32) (local $x i32) (local $y i32)
    (loop $again
      (local.set $x (local.get $times))
      (local.set $i (i32.const 0))
      (loop $fill
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
        (i32.store offset=524288 (local.get $i) (local.get $x))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br_if $fill (i32.lt_u (local.get $i) (i32.const 262144))))
      (local.set $gap (i32.const 131072))
      (loop $gaps
        (local.set $i (local.get $gap))
        (loop $insert
          (local.set $x (i32.load offset=524288 (local.get $i)))
          (local.set $j (local.get $i))
          (block $placed
            (loop $shift
              (br_if $placed (i32.lt_u (local.get $j) (local.get $gap)))
              (local.set $y (i32.load offset=524288 (i32.sub (local.get $j) (local.get $gap))))
              (br_if $placed (i32.le_s (local.get $y) (local.get $x)))
              (i32.store offset=524288 (local.get $j) (local.get $y))
              (local.set $j (i32.sub (local.get $j) (local.get $gap)))
              (br $shift)))
          (i32.store offset=524288 (local.get $j) (local.get $x))
          (local.set $i (i32.add (local.get $i) (i32.const 4)))
          (br_if $insert (i32.lt_u (local.get $i) (i32.const 262144))))
        (local.set $gap (i32.and (i32.shr_u (local.get $gap) (i32.const 1)) (i32.const -4)))
        (br_if $gaps (local.get $gap)))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i32.load offset=524288 (i32.const 131072)))

  ;; Points of the Mandelbrot set, 64 x 64, up to 256 steps each.
  (func (export "mandelbrot-f64") (param $times i32) (result i32)
    (local $i i32) (local $n i32) (local $sum i32)
    (local $x f64) (local $y f64) (local $cx f64) (local $cy f64) (local $xx f64) (local $yy f64)
    (loop $again
      (local.set $i (i32.const 0))
      (loop $points
        (local.set $cx (f64.sub
          (f64.div (f64.convert_i32_u (i32.and (local.get $i) (i32.const 63))) (f64.const 24)) (f64.const 2)))
        (local.set $cy (f64.sub
          (f64.div (f64.convert_i32_u (i32.shr_u (local.get $i) (i32.const 6))) (f64.const 26)) (f64.const 1.2)))
        (local.set $x (f64.const 0)) (local.set $y (f64.const 0))
        (local.set $n (i32.const 256))
        (block $out
          (loop $steps
            (local.set $xx (f64.mul (local.get $x) (local.get $x)))
            (local.set $yy (f64.mul (local.get $y) (local.get $y)))
            (br_if $out (f64.gt (f64.add (local.get $xx) (local.get $yy)) (f64.const 4)))
            (local.set $y (f64.add
              (f64.mul (f64.mul (f64.const 2) (local.get $x)) (local.get $y)) (local.get $cy)))
            (local.set $x (f64.add (f64.sub (local.get $xx) (local.get $yy)) (local.get $cx)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $steps (local.get $n))))
        (local.set $sum (i32.add (local.get $sum) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $points (i32.lt_u (local.get $i) (i32.const 4096))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (local.get $sum))

  ;; y = a x + y over 16,384 floats at 786432 and 851968.
  (func (export "axpy-f32") (param $times i32) (result i32)
    (local $i i32)
    (loop $fill
      (f32.store offset=786432 (local.get $i) (f32.convert_i32_u (local.get $i)))
      (f32.store offset=851968 (local.get $i) (f32.const 1))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $fill (i32.lt_u (local.get $i) (i32.const 65536))))
    (loop $again
      (local.set $i (i32.const 0))
      (loop $each
        (f32.store offset=851968 (local.get $i)
          (f32.add (f32.mul (f32.const 1.0001) (f32.load offset=786432 (local.get $i)))
            (f32.load offset=851968 (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 4)))
        (br_if $each (i32.lt_u (local.get $i) (i32.const 65536))))
      (local.set $times (i32.sub (local.get $times) (i32.const 1)))
      (br_if $again (local.get $times)))
    (i32.reinterpret_f32 (f32.load offset=851968 (i32.const 65532)))))
