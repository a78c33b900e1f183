defmodule Palladion.Config.PemTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.Pem
  alias Palladion.Test.Certificates

  setup :tmp_dir

  setup_all do
    %{chain: Certificates.chain(), rsa: Certificates.chain({:rsa, 2_048, 65_537})}
  end

  defp labels(content) do
    assert {:ok, blocks} = Pem.parse(content)
    Enum.map(blocks, & &1.label)
  end

  defp reason(content) do
    assert {:error, {reason, message}} = Pem.parse(content)
    assert is_binary(message)
    reason
  end

  test "takes a PEM file apart, whatever is around the blocks", %{chain: chain} do
    content =
      "Bag Attributes\r\n" <>
        Certificates.pem([chain.leaf, chain.intermediate]) <>
        "\n# a comment\n" <> Certificates.key_pem(chain.key)

    assert {:ok, [leaf, intermediate, key]} = Pem.parse(content)
    assert {leaf.label, leaf.der} == {"CERTIFICATE", chain.leaf}
    assert {intermediate.label, intermediate.der} == {"CERTIFICATE", chain.intermediate}
    assert {key.label, key.der} == {"EC PRIVATE KEY", elem(chain.key, 1)}
    {type, der} = chain.key
    assert :public_key.pem_decode(key.text) == [{type, der, :not_encrypted}]
  end

  test "takes Windows line ends", %{chain: chain} do
    content = String.replace(Certificates.pem(chain.root), "\n", "\r\n")
    assert {:ok, [%{der: der}]} = Pem.parse(content)
    assert der == chain.root
  end

  test "recognizes DER", %{chain: chain, rsa: rsa} do
    [{_, pkcs8, _}] = chain.key |> Certificates.key_pem(:pkcs8) |> :public_key.pem_decode()

    assert labels(chain.leaf) == ["CERTIFICATE"]
    assert labels(elem(chain.key, 1)) == ["EC PRIVATE KEY"]
    assert labels(elem(rsa.key, 1)) == ["RSA PRIVATE KEY"]
    assert labels(pkcs8) == ["PRIVATE KEY"]
  end

  test "a DER block is a PEM block as well", %{rsa: rsa} do
    {:ok, [%{text: text, der: der}]} = Pem.parse(elem(rsa.key, 1))
    assert [{:RSAPrivateKey, ^der, :not_encrypted}] = :public_key.pem_decode(text)
  end

  test "tells what it can't take", %{chain: chain} do
    assert reason("") == :empty_file
    assert reason(" \n") == :empty_file
    assert reason("not a certificate") == :unsupported_format
    assert reason(<<0, 1, 2, 3>>) == :unsupported_format
    assert reason(binary_part(chain.leaf, 0, 100)) == :unsupported_format
    assert reason(<<0xFEEDFEED::32, 2::32>>) == :unsupported_format
    assert reason("-----BEGIN CERTIFICATE-----\nMIIB") == :malformed
    # A PFX: a sequence that starts with the version 3.
    assert {:error, {:unsupported_format, text}} = Pem.parse(<<0x30, 5, 2, 1, 3, 0x30, 0>>)
    assert text =~ "openssl pkcs12"
  end

  test "what is no Base64 has no DER" do
    content = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"
    assert {:ok, [%{label: "CERTIFICATE", der: nil}]} = Pem.parse(content)
  end

  test "a file that can't be read says why", %{tmp_dir: dir} do
    assert {:error, {:unreadable, text}} = Pem.read(Path.join(dir, "none.pem"))
    assert text =~ "no such file"
    assert {:error, {:unreadable, text}} = Pem.read(dir)
    assert text =~ "directory"
  end

  test "survives any bytes", %{chain: chain} do
    :rand.seed(:exsss, {1, 2, 3})

    for _ <- 1..500 do
      size = :rand.uniform(byte_size(chain.leaf))
      <<head::binary-size(size), _, tail::binary>> = chain.leaf <> "x"

      for content <- [head, tail, head <> <<:rand.uniform(255)>> <> tail] do
        assert elem(Pem.parse(content), 0) in [:ok, :error]
      end
    end
  end
end
