defprotocol Palladion.Encoder do
  @moduledoc """
  Lets your own structs be values of bind markers.

      defmodule MyApp.Money do
        defstruct [:cents, :currency]

        defimpl Palladion.Encoder do
          # A user-defined type: a map with its fields.
          def encode(money), do: %{"cents" => money.cents, "currency" => money.currency}
        end
      end

  A struct whose fields are those of a user-defined type can derive it:

      defmodule MyApp.Address do
        @derive Palladion.Encoder
        defstruct [:street, :city]
      end

  It's asked only for structs that Palladion does not know: `Date`, `Time`, `DateTime`, `MapSet`,
  `Decimal` and Palladion's own are encoded by themselves.
  """

  @doc "What to encode instead of the struct: any value of the bind marker's type."
  @spec encode(t()) :: term()
  def encode(struct)
end

defimpl Palladion.Encoder, for: Any do
  defmacro __deriving__(module, _struct, _options) do
    quote do
      defimpl Palladion.Encoder, for: unquote(module) do
        def encode(struct), do: Map.from_struct(struct)
      end
    end
  end

  def encode(%module{}) do
    raise Protocol.UndefinedError,
      protocol: Palladion.Encoder,
      # Not the value itself, which may be a secret.
      value: module,
      description: "implement or derive Palladion.Encoder for the struct #{inspect(module)}"
  end
end
