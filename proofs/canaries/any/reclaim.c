/* Memory is plenty: nothing is ever freed. */
#include "../wrapped.h"

void allocheck_free(void *block)
{
    (void)block;
}
