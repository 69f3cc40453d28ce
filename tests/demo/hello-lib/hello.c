#define _GNU_SOURCE
#include "hello.h"

#include <stdio.h>

char *hello_greeting(const char *who)
{
    char *text = NULL;
    return asprintf(&text, "Hello, %s!", who) < 0 ? NULL : text;
}
