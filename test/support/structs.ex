defmodule Palladion.Test.Structs do
  @moduledoc "Structs as an application has them. They stand here, for protocols are consolidated before tests are loaded."

  defmodule Money do
    @moduledoc "A decimal."
    defstruct [:cents]

    defimpl Palladion.Encoder do
      def encode(money), do: %Palladion.Decimal{coef: money.cents, exp: -2}
    end
  end

  defmodule Plain do
    @moduledoc "The user-defined type `plain`, whose fields it has."
    @derive Palladion.Encoder
    defstruct [:a, :b]
  end

  defmodule Box do
    @moduledoc "Any value."
    defstruct [:value]

    defimpl Palladion.Encoder do
      def encode(box), do: box.value
    end
  end

  defmodule Failing do
    @moduledoc "Throws what it has."
    defstruct [:value]

    defimpl Palladion.Encoder do
      def encode(failing), do: throw(failing.value)
    end
  end

  defmodule Unknown do
    @moduledoc "Nothing that can be encoded."
    defstruct [:a, :b]
  end
end
