#ifndef HELLO_H
#define HELLO_H

/* The greeting for `who`; the caller frees it. NULL when there is no memory. */
char *hello_greeting(const char *who);

#endif
