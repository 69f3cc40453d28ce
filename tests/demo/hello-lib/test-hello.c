#include "hello.h"

#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = hello_greeting("copr");
    int wrong = text == NULL || strcmp(text, "Hello, copr!") != 0;
    free(text);
    return wrong;
}
