#include "textflag.h"

// FOLD moves a sum by as far as the factors say and adds what is there.
#define FOLD(sum, factors, there, tmp) \
	MOVO      sum, tmp                \
	PCLMULQDQ $0x00, factors, sum     \
	PCLMULQDQ $0x11, factors, tmp     \
	PXOR      tmp, sum                \
	PXOR      there, sum

// func foldBlocks(state uint64, factors *[4]uint64, p []byte) (first, last uint64)
TEXT ·foldBlocks(SB), NOSPLIT, $0-56
	MOVQ  state+0(FP), X0
	MOVQ  factors+8(FP), AX
	MOVQ  p_base+16(FP), SI
	MOVQ  p_len+24(FP), CX
	MOVOU 0(AX), X8          // by 512 bits
	MOVOU 16(AX), X9         // by 128 bits
	MOVOU 0(SI), X1
	MOVOU 16(SI), X2
	MOVOU 32(SI), X3
	MOVOU 48(SI), X4
	PXOR  X0, X1

loop:
	ADDQ  $64, SI
	SUBQ  $64, CX
	JZ    join
	MOVOU 0(SI), X10
	MOVOU 16(SI), X11
	MOVOU 32(SI), X12
	MOVOU 48(SI), X13
	FOLD(X1, X8, X10, X5)
	FOLD(X2, X8, X11, X6)
	FOLD(X3, X8, X12, X7)
	FOLD(X4, X8, X13, X14)
	JMP   loop

join:
	FOLD(X1, X9, X2, X5)
	FOLD(X1, X9, X3, X5)
	FOLD(X1, X9, X4, X5)
	MOVQ  X1, first+40(FP)
	PSRLO $8, X1
	MOVQ  X1, last+48(FP)
	RET
