;; Answers what it is told to. Its input holds a `#` and behind it pairs of lower-case hexadecimal digits up to the end of
;; a string; they are the bytes that it writes to 0x10000. It returns the address that the first four of them are, so that
;; whoever writes the input writes every byte that the host reads: discriminants, pointers, lengths and texts.
;;
;; The memory: page 0 is never written, so that zeros lie there; page 1 is the answer; pages 2 and 3 are the input.
(module
  (memory (export "memory") 4)

  ;; The only thing that the host allocates is the input.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0x20000)

  ;; The value of a digit: the low four bits, and 9 more for a letter.
  (func $digit (param $at i32) (result i32)
    (local $byte i32)
    (local.set $byte (i32.load8_u (local.get $at)))
    (i32.add
      (i32.and (local.get $byte) (i32.const 15))
      (i32.mul (i32.shr_u (local.get $byte) (i32.const 6)) (i32.const 9))))

  ;; Without a `#`, or without the end of a string behind it, this runs out of the memory and traps.
  (func (export "portcullis:detection/rule@1.0.0#evaluate") (param $at i32) (param $length i32) (result i32)
    (local $answer i32)
    (local.set $answer (i32.const 0x10000))
    (loop $skip
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $skip (i32.ne (i32.load8_u (i32.sub (local.get $at) (i32.const 1))) (i32.const 35))))
    (block $end
      (loop $pair
        (br_if $end (i32.eq (i32.load8_u (local.get $at)) (i32.const 34)))
        (i32.store8 (local.get $answer)
          (i32.or
            (i32.shl (call $digit (local.get $at)) (i32.const 4))
            (call $digit (i32.add (local.get $at) (i32.const 1)))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (local.set $answer (i32.add (local.get $answer) (i32.const 1)))
        (br $pair)))
    (i32.load (i32.const 0x10000))))
